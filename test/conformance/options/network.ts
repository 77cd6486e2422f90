/** Networks, ports and name resolution, shown inside the container and on the wire. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { PortProtocol } from "../../../gen/nap/v1/types_pb.js";
import type { Bench } from "../bench.js";
import { failure } from "../bench.js";
import type { OptionTest, Seen } from "./option.js";
import { imageSource } from "../../support/requests/source.js";

/** Attaches a container to networks. */
const on = (...networks: { network: string; endpoint?: object }[]) => ({ networks });
/** Where a container's network namespace comes from. */
const from = (
  mode: { case: "isolated" | "host"; value: object } | { case: "container"; value: string },
) => ({ namespaces: { network: { mode } } });
const none = from({ case: "isolated", value: {} });
const { TCP, UDP } = PortProtocol;

/** Answers on TCP and UDP, on each of the ports, with the port and what it was sent. */
const server = (...ports: number[]): string[] => [
  "perl",
  "-e",
  `$SIG{PIPE} = "IGNORE";
  for $port (@ARGV) {
    $name = pack("Sna4x8", 2, $port, "\\0\\0\\0\\0");
    if (!fork) {
      socket(U, 2, 2, 0); bind(U, $name) or die;
      while (defined($peer = recv(U, $_, 99, 0))) { send(U, "udp $port $_", 0, $peer) }
    }
    if (!fork) {
      socket(L, 2, 1, 0); setsockopt(L, 1, 2, 1); bind(L, $name) or die; listen(L, 9) or die;
      while (accept(C, L)) { recv(C, $_, 99, 0); send(C, "tcp $port $_", 0); close C }
    }
  }
  sleep`,
  ...ports.map(String),
];

/** Sends to each "protocol address port" until something answers, and prints what came. */
const client = `perl -e '
  $SIG{PIPE} = "IGNORE";
  for (@ARGV) {
    ($protocol, $address, $port) = split / /;
    $got = "";
    for $try (1 .. 50) {
      socket(S, 2, $protocol eq "tcp" ? 1 : 2, 0);
      if (connect(S, pack("SnC4x8", 2, $port, split(/[.]/, $address)))) {
        send(S, "hello", 0);
        $in = ""; vec($in, fileno(S), 1) = 1;
        recv(S, $got, 99, 0) if select($in, undef, undef, 1);
      }
      close S;
      last if $got ne "";
      select(undef, undef, undef, 0.2);
    }
    print "$got\\n";
  }' "$@"`;

/** The host's ports that lead to a port, for IPv4. */
async function hostPorts(bench: Bench, id: string, protocol: PortProtocol, port = 7000) {
  const { ports } = await bench.get(id);
  return ports.filter(
    (bound) =>
      bound.containerPort === port &&
      bound.protocol === protocol &&
      bound.hostAddress?.includes(":") !== true,
  );
}

/** Sends over TCP and UDP to every host's address and port that a container's ports have. */
async function roundTrips(bench: Bench, id: string, port = 7000): Promise<string> {
  const told: string[] = [];
  for (const [protocol, word] of [
    [TCP, "tcp"],
    [UDP, "udp"],
  ] as const) {
    const bound = await hostPorts(bench, id, protocol, port);
    expect(bound, word).not.to.deep.equal([]);
    const targets = bound.map(({ hostAddress, hostPort }) => {
      const address = hostAddress === "0.0.0.0" ? "127.0.0.1" : hostAddress;
      return `${word} ${address} ${hostPort}`;
    });
    const answers = await bench.onHost(client, ...targets);
    expect(answers.split("\n")).to.deep.equal(targets.map(() => `${word} ${port} hello`));
    told.push(...targets);
  }
  return told.join(", ");
}

/** A binding of port 7000 for TCP, and the same for UDP. */
const both = (
  ...bindings: { hostAddress?: string; hostPort?: number; hostPortRangeEnd?: number }[]
) =>
  [TCP, UDP].flatMap((protocol) =>
    bindings.map((binding) => ({ containerPort: 7000, protocol, ...binding })),
  );

/** A form of port_bindings: every port answers over TCP and UDP, and there are as many as were asked for. */
function binding(
  portMappings: ReturnType<typeof both>,
  expected: readonly (readonly [address: string, port?: number])[],
): Seen {
  return async (bench) => {
    const { id, spec } = await bench.start({ networkConfig: { portMappings } }, server(7000));
    expect(spec?.networkConfig?.portMappings).to.have.length(portMappings.length);
    for (const protocol of [TCP, UDP]) {
      const bound = await hostPorts(bench, id, protocol);
      expect(bound.map(({ hostAddress }) => hostAddress)).to.have.members(
        expected.map(([address]) => address),
      );
      const asked = expected.flatMap(([, port]) => (port === undefined ? [] : [port]));
      expect(bound.map(({ hostPort }) => hostPort)).to.include.members(asked);
    }
    return roundTrips(bench, id);
  };
}

export function networkOptions(option: OptionTest): void {
  option(
    "option.ports.are-exposed-to-links",
    "ports",
    "a list of TCP and UDP ports, told to who links to it",
    async (bench) => {
      const exposedPorts = [
        { containerPort: 1111 },
        { containerPort: 1111, protocol: UDP },
        { containerPort: 2222 },
      ];
      const { name } = await bench.start({ networkConfig: { exposedPorts } });
      const links = [{ container: name, alias: "linked" }];
      const spec = on({ network: "bridge", endpoint: { links } });
      const { stdout } = await bench.run(spec, "env | grep -o -E '^LINKED_PORT_.*=(tcp|udp):'");
      expect(stdout.trim().split("\n")).to.include.members([
        "LINKED_PORT_1111_TCP=tcp:",
        "LINKED_PORT_1111_UDP=udp:",
        "LINKED_PORT_2222_TCP=tcp:",
      ]);
      return "1111/tcp, 1111/udp, 2222/tcp";
    },
  );

  option(
    "option.port-bindings.one-host-port",
    "port_bindings",
    "one host port",
    binding(both({ hostPort: 18_001 }), [["0.0.0.0", 18_001]]),
  );

  option(
    "option.port-bindings.random-host-port",
    "port_bindings",
    "a random host port",
    binding(both({}), [["0.0.0.0"]]),
  );

  option(
    "option.port-bindings.address-and-port",
    "port_bindings",
    "an address and a port",
    binding(both({ hostAddress: "127.0.0.1", hostPort: 18_003 }), [["127.0.0.1", 18_003]]),
  );

  option(
    "option.port-bindings.address-alone",
    "port_bindings",
    "an address alone",
    binding(both({ hostAddress: "127.0.0.2" }), [["127.0.0.2"]]),
  );

  option(
    "option.port-bindings.several-addresses",
    "port_bindings",
    "one container port on several addresses",
    binding(
      both(
        { hostAddress: "127.0.0.2", hostPort: 18_005 },
        { hostAddress: "127.0.0.3", hostPort: 18_005 },
      ),
      [
        ["127.0.0.2", 18_005],
        ["127.0.0.3", 18_005],
      ],
    ),
  );

  option(
    "option.port-bindings.several-host-ports",
    "port_bindings",
    "one container port on several host ports",
    binding(both({ hostPort: 18_006 }, { hostPort: 18_007 }), [
      ["0.0.0.0", 18_006],
      ["0.0.0.0", 18_007],
    ]),
  );

  option(
    "option.port-bindings.all-forms-at-once",
    "port_bindings",
    "all forms at once",
    binding(
      both(
        { hostPort: 18_011 },
        { hostPort: 18_012 },
        { hostAddress: "127.0.0.1", hostPort: 18_013 },
        { hostAddress: "127.0.0.1" },
        {},
      ),
      [["0.0.0.0", 18_011], ["0.0.0.0", 18_012], ["127.0.0.1", 18_013], ["127.0.0.1"], ["0.0.0.0"]],
    ),
  );

  option(
    "option.port-bindings.tcp-and-udp-apart",
    "port_bindings",
    "TCP and UDP on different host ports",
    async (bench) => {
      const portMappings = [
        { containerPort: 7000, hostPort: 18_021 },
        { containerPort: 7000, protocol: UDP, hostPort: 18_022 },
      ];
      const { id } = await bench.start({ networkConfig: { portMappings } }, server(7000));
      const ports = [...(await hostPorts(bench, id, TCP)), ...(await hostPorts(bench, id, UDP))];
      expect(ports.map(({ hostPort }) => hostPort)).to.deep.equal([18_021, 18_022]);
      return roundTrips(bench, id);
    },
  );

  option(
    "option.port-bindings.an-address-leaves-others-free",
    "port_bindings",
    "an address keeps the others free",
    async (bench) => {
      for (const hostAddress of ["127.0.0.2", "127.0.0.3"]) {
        const portMappings = both({ hostAddress, hostPort: 18_023 });
        const { id } = await bench.start({ networkConfig: { portMappings } }, server(7000));
        await roundTrips(bench, id);
      }
      return "two containers have one port on two addresses";
    },
  );

  option(
    "option.port-bindings.first-free-of-a-range",
    "port_bindings",
    "the first free one of a range",
    async (bench) => {
      const taken: number[] = [];
      const told: string[] = [];
      for (let n = 0; n < 2; n++) {
        const portMappings = [
          { containerPort: 7000, hostPort: 18_031, hostPortRangeEnd: 18_032 },
          { containerPort: 7000, protocol: UDP, hostPort: 18_031, hostPortRangeEnd: 18_032 },
        ];
        const { id } = await bench.start({ networkConfig: { portMappings } }, server(7000));
        taken.push(...(await hostPorts(bench, id, TCP)).map(({ hostPort }) => hostPort ?? 0));
        told.push(await roundTrips(bench, id));
      }
      expect(taken).to.have.members([18_031, 18_032]);
      return told.join(", ");
    },
  );

  option(
    "option.port-bindings.a-taken-one-is-refused",
    "port_bindings",
    "one that is taken is refused at the start",
    async (bench) => {
      const { nap, engine } = bench;
      const networkConfig = { portMappings: [{ containerPort: 7000, hostPort: 18_010 }] };
      await bench.start({ networkConfig });
      const { id: container } = await bench.create({ networkConfig });
      const error = await failure(nap.containers.startContainer({ engine, container }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "HOST_PORT_IN_USE" });
      return error.reason;
    },
  );

  option(
    "option.port-bindings.refused-with-the-host-network",
    "port_bindings",
    "refused where the container has the host's network, and nothing is left",
    async (bench) => {
      const { nap, engine, image } = bench;
      const networkConfig = { portMappings: [{ containerPort: 7000 }] };
      const name = bench.name("dropped");
      const command = { arguments: ["true"] };
      const source = imageSource(image);
      const spec = { source, command, networkConfig, ...from({ case: "host", value: {} }) };
      const error = await failure(nap.containers.createContainer({ engine, name, spec }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "FIELD_NOT_APPLIED" });
      const gone = await failure(nap.containers.getContainer({ engine, container: name }));
      expect(gone.reason).to.equal("CONTAINER_NOT_FOUND");
      return error.reason;
    },
  );

  option(
    "option.port-bindings.refused-where-none-is-published",
    "port_bindings",
    "refused where nothing could be published, and an end without a beginning",
    async (bench) => {
      const { nap, engine, image } = bench;
      for (const [parts, field] of [
        [{ ...none, networkConfig: { portMappings: [{ containerPort: 7000 }] } }, "port_mappings"],
        [{ ...none, networkConfig: { publishAllPorts: true } }, "publish_all_ports"],
        [
          { networkConfig: { portMappings: [{ containerPort: 7000, hostPortRangeEnd: 9 }] } },
          "port_mappings[0].host_port_range_end",
        ],
      ] as const) {
        const command = { arguments: ["true"] };
        const spec = { source: imageSource(image), command, ...parts } as object;
        const error = await failure(nap.containers.createContainer({ engine, spec }));
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
        expect(error.fields).to.deep.equal([`spec.network_config.${field}`]);
      }
      return "FIELD_INVALID";
    },
  );

  option(
    "option.publish-all-ports.every-one-answers",
    "publish_all_ports",
    "every exposed port answers",
    async (bench) => {
      const exposedPorts = [7000, 7001].flatMap((containerPort) =>
        [TCP, UDP].map((protocol) => ({ containerPort, protocol })),
      );
      const networkConfig = { exposedPorts, publishAllPorts: true };
      const { id } = await bench.start({ networkConfig }, server(7000, 7001));
      return `${await roundTrips(bench, id, 7000)}, ${await roundTrips(bench, id, 7001)}`;
    },
  );

  option("option.dns.servers", "dns", "addresses of servers", {
    spec: { networkConfig: { dnsServers: ["10.9.8.7", "10.9.8.6"] } },
    script: "grep ^nameserver /etc/resolv.conf",
    shows: "nameserver 10.9.8.7\nnameserver 10.9.8.6",
  });

  option("option.dns.with-domains-and-options", "dns", "beside domains and options", {
    spec: {
      networkConfig: {
        dnsServers: ["10.9.8.7"],
        dnsSearches: ["example.test"],
        dnsOptions: ["ndots:3"],
      },
    },
    script: "cat /etc/resolv.conf",
    shows: /^(?=[^]*nameserver 10\.9\.8\.7)(?=[^]*search example\.test)(?=[^]*options ndots:3)/,
  });

  option("option.dns-search.domains", "dns_search", "domains", {
    spec: { networkConfig: { dnsSearches: ["one.test", "two.test"] } },
    script: "grep ^search /etc/resolv.conf",
    shows: "search one.test two.test",
  });

  option("option.dns-opt.options", "dns_opt", "options", {
    spec: { networkConfig: { dnsOptions: ["ndots:3", "attempts:1"] } },
    script: "grep ^options /etc/resolv.conf",
    shows: /ndots:3 attempts:1/,
  });

  option("option.extra-hosts.ipv4-and-ipv6", "extra_hosts", "names of IPv4 and IPv6 addresses", {
    spec: {
      networkConfig: {
        extraHosts: [
          { hostname: "db", target: { case: "address", value: "10.9.8.7" } },
          { hostname: "six", target: { case: "address", value: "fd00::7" } },
        ],
      },
    },
    script: "grep -c -E '10.9.8.7\\s+db|fd00::7\\s+six' /etc/hosts",
    shows: "2",
  });

  option("option.extra-hosts.host-gateway", "extra_hosts", "the host itself", {
    spec: {
      networkConfig: {
        extraHosts: [{ hostname: "up", target: { case: "hostGateway", value: {} } }],
      },
    },
    script: "awk '$2 == \"up\" {print $1}' /etc/hosts",
    shows: /^\d+\.\d+\.\d+\.\d+$/,
  });

  option(
    "option.links.on-the-default-network",
    "links",
    "on the default network the alias resolves and leads there",
    async (bench) => {
      const { name } = await bench.start({}, server(7000));
      const links = [{ container: name, alias: "linked" }];
      const spec = on({ network: "bridge", endpoint: { links } });
      const script = `set -- "tcp $(awk '/linked/ {print $1; exit}' /etc/hosts) 7000"; ${client}`;
      const { stdout } = await bench.run(spec, script);
      expect(stdout).to.equal("tcp 7000 hello\n");
      return stdout;
    },
  );

  option(
    "option.links.on-an-own-network",
    "links",
    "on a network of one's own the alias resolves",
    async (bench) => {
      const network = await bench.network();
      const { name, endpoints } = await bench.start(on({ network }));
      const links = [{ container: name, alias: "linked" }];
      const spec = on({ network, endpoint: { links } });
      const { stdout } = await bench.run(spec, "nslookup linked");
      expect(stdout).to.include(endpoints[0]?.ipv4Address);
      return `linked is ${endpoints[0]?.ipv4Address}`;
    },
  );

  option("option.mac-address.on-the-default-network", "mac_address", "on the default network", {
    spec: on({ network: "bridge", endpoint: { macAddress: "02:42:00:11:22:33" } }),
    script: "cat /sys/class/net/eth0/address",
    shows: "02:42:00:11:22:33",
  });

  option(
    "option.mac-address.on-an-own-network",
    "mac_address",
    "on a network of one's own",
    async (bench) => {
      const network = await bench.network();
      const macAddress = "02:42:00:11:22:34";
      const spec = on({ network, endpoint: { macAddress } });
      const { stdout } = await bench.run(spec, "cat /sys/class/net/eth0/address");
      expect(stdout.trim()).to.equal(macAddress);
      return stdout;
    },
  );

  option("option.network-disabled.only-the-loopback", "network_disabled", "only the loopback", {
    spec: none,
    script: "ls /sys/class/net",
    shows: "lo",
  });

  option("option.network-mode.bridge", "network_mode", "bridge", {
    spec: on({ network: "bridge" }),
    script: "ls /sys/class/net; ip route | grep -c ^default",
    shows: "eth0\nlo\n1",
  });

  option("option.network-mode.none", "network_mode", "none", {
    spec: none,
    script: "ip route | wc -l",
    shows: "0",
  });

  option("option.network-mode.host", "network_mode", "host", async (bench) => {
    const { stdout } = await bench.run(
      from({ case: "host", value: {} }),
      "readlink /proc/self/ns/net",
    );
    const own = await bench.run({}, "readlink /proc/self/ns/net");
    expect(stdout.trim()).to.equal(await bench.onHost("readlink /proc/1/ns/net"));
    expect(own.stdout).not.to.equal(stdout);
    return stdout;
  });

  option(
    "option.network-mode.container",
    "network_mode",
    "container, by id and by name",
    async (bench) => {
      const other = await bench.start({});
      const theirs = await bench.exec(other.id, "readlink /proc/self/ns/net");
      for (const value of [other.id, other.name]) {
        const { stdout } = await bench.run(
          from({ case: "container", value }),
          "readlink /proc/self/ns/net",
        );
        expect(stdout.trim()).to.equal(theirs);
      }
      return theirs;
    },
  );

  option(
    "option.network-mode.own-namespace-on-named-networks",
    "network_mode",
    "a namespace of its own is on the networks that are named",
    async (bench) => {
      const network = await bench.network();
      const { stdout } = await bench.run({ ...none, ...on({ network }) }, "ls /sys/class/net");
      expect(stdout).to.equal("eth0\nlo\n");
      return stdout;
    },
  );

  option(
    "option.network-mode.networks-need-an-own-namespace",
    "network_mode",
    "networks are refused where the namespace is not the container's own",
    async (bench) => {
      const { nap, engine, image } = bench;
      for (const mode of [
        { case: "host", value: {} },
        { case: "container", value: "other" },
        { case: "path", value: "/proc/1/ns/net" },
      ] as const) {
        const namespaces = { network: { mode } };
        const spec = { source: imageSource(image), namespaces, ...on({ network: "none-such" }) };
        const error = await failure(nap.containers.createContainer({ engine, spec }));
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
        expect(error.fields[0]).to.equal("spec.networks");
      }
      return "FIELD_INVALID";
    },
  );

  option(
    "option.network-mode.network-by-name-and-id",
    "network_mode",
    "a network by name and by id",
    async (bench) => {
      const { nap, engine } = bench;
      const name = await bench.network({
        ipam: { pools: [{ subnet: "10.213.6.0/24" }] },
      });
      const id = (await nap.networks.getNetwork({ engine, network: name })).network?.id ?? "";
      for (const network of [name, id]) {
        const { stdout } = await bench.run(on({ network }), "ip -4 addr show eth0");
        expect(stdout).to.include("10.213.6.");
      }
      return "10.213.6.0/24";
    },
  );
}

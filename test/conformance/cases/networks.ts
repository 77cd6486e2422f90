/** Networks. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { ListView } from "../../../gen/nap/v1/types_pb.js";
import { failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { imageSource } from "../../support/requests/source.js";

/** Attaches a container to networks. */
const on = (...networks: { network: string; endpoint?: object }[]) => ({ networks });
/** Puts a process's network, which has nothing, at 10.213.13.2 behind the host. */
const beyond = `
  set -e
  ip link add nap-beyond type veth peer name nap-far
  ip link set nap-far netns "$1"
  ip addr add 10.213.13.1/24 dev nap-beyond
  ip link set nap-beyond up
  for args in "addr add 10.213.13.2/24 dev nap-far" "link set nap-far up" \\
    "route add default via 10.213.13.1"; do
    nsenter -t "$1" -n ip $args
  done`;

export function networkCases(test: ConformanceTest): void {
  test(
    "network.joins-its-containers-and-no-others",
    "lets containers on one network reach each other by name and alias, and no others",
    async (bench) => {
      const [one, other] = [await bench.network(), await bench.network()];
      const alias = bench.name("alias");
      const on = (network: string, aliases: string[] = []) => ({
        networks: [{ network, endpoint: { aliases } }],
      });
      const serve = ["nc", "-ll", "-p", "7000", "-e", "echo", "served"];
      const { name, endpoints } = await bench.start(on(one, [alias]), serve);
      for (const host of [name, alias]) {
        const script = `for n in 1 2 3 4 5; do nc ${host} 7000 && exit; sleep 0.2; done`;
        expect((await bench.run(on(one), script)).stdout).to.equal("served\n");
      }
      for (const host of [name, endpoints[0]?.ipv4Address]) {
        const { stdout, exit } = await bench.run(on(other), `timeout 3 nc ${host} 7000; exit $?`);
        expect(stdout).to.equal("");
        expect(exit?.code).not.to.equal(0);
      }
    },
    { row: "network reach" },
  );

  test(
    "network.two-from-the-start-at-a-fixed-address",
    "attaches a container to two networks from its start, at a fixed address",
    async (bench) => {
      const subnet = "10.213.7.0/24";
      const ipam = { pools: [{ subnet, gateway: "10.213.7.1" }] };
      const one = await bench.network({ ipam });
      const two = await bench.network();
      const networks = [
        { network: one, endpoint: { ipv4Address: "10.213.7.77" } },
        { network: two, endpoint: {} },
      ];
      const { id, endpoints } = await bench.start({ networks });
      expect(await bench.exec(id, "ip -4 addr show eth0")).to.include("10.213.7.77/24");
      expect(await bench.exec(id, "ls /sys/class/net | grep -c eth")).to.equal("2");
      expect(endpoints.map(({ network: name }) => name)).to.have.members([one, two]);
    },
    { row: "network connect" },
  );

  test(
    "network.refuses-a-taken-name-or-subnet",
    "refuses a second network under a name, and an overlapping subnet",
    async (bench) => {
      const { nap, engine } = bench;
      const spec = { ipam: { pools: [{ subnet: "10.213.9.0/24" }] } };
      const name = await bench.network(spec);
      const taken = await failure(nap.networks.createNetwork({ engine, name }));
      expect(taken).to.include({ code: Code.ALREADY_EXISTS, reason: "NAME_IN_USE" });
      const overlap = await failure(
        nap.networks.createNetwork({ engine, name: bench.name("overlap"), spec }),
      );
      expect(overlap).to.include({ code: Code.FAILED_PRECONDITION, reason: "SUBNET_OVERLAP" });
    },
    { row: "network create" },
  );

  test(
    "network.refuses-to-remove-one-in-use-or-built-in",
    "refuses to remove a network in use and names its users, and one of the engine's own",
    async (bench) => {
      const { nap, engine } = bench;
      const network = await bench.network();
      const attached = { networks: [{ network }] };
      const { name } = await bench.start(attached);
      const error = await failure(nap.networks.removeNetwork({ engine, network }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "RESOURCE_IN_USE" });
      expect(error.subjects).to.deep.equal([name]);
      const own = await failure(nap.networks.removeNetwork({ engine, network: "bridge" }));
      expect(own).to.include({ code: Code.FAILED_PRECONDITION, reason: "NETWORK_BUILT_IN" });
    },
    { row: "network remove" },
  );

  test(
    "network.lists-by-label-gets-and-removes",
    "lists networks by label, gets one with its containers, and removes it",
    async (bench) => {
      const { nap, engine } = bench;
      const mark = bench.name("mark");
      const network = await bench.network({ labels: { mark }, internal: true });
      const filter = { labels: [{ key: "mark", value: mark }] };
      const { networks } = await nap.networks.listNetworks({ engine, filter });
      expect(networks.map(({ name }) => name)).to.deep.equal([network]);
      expect(networks[0]?.spec?.internal).to.equal(true);
      const attached = { networks: [{ network }] };
      const { id } = await bench.start(attached);
      const found = await nap.networks.getNetwork({ engine, network });
      expect(found.network?.endpoints.map(({ containerId }) => containerId)).to.deep.equal([id]);
      await nap.containers.removeContainer({ engine, container: id, force: true });
      await nap.networks.removeNetwork({ engine, network });
      const gone = await failure(nap.networks.getNetwork({ engine, network }));
      expect(gone).to.include({ code: Code.NOT_FOUND, reason: "NETWORK_NOT_FOUND" });
    },
    { row: "network list and inspect" },
  );

  test(
    "network.connects-and-disconnects-a-running-container",
    "connects and disconnects a running container, with alias and address",
    async (bench) => {
      const { nap, engine } = bench;
      const ipam = { pools: [{ subnet: "10.213.8.0/24" }] };
      const network = await bench.network({ ipam });
      const { id: container } = await bench.start({});
      const alias = bench.name("alias");
      const endpoint = { aliases: [alias], ipv4Address: "10.213.8.88" };
      await nap.networks.connectContainer({ engine, container, network, endpoint });
      const attached = { networks: [{ network }] };
      const { stdout } = await bench.run(attached, `nslookup ${alias}`);
      expect(stdout).to.include("10.213.8.88");
      const twice = await failure(nap.networks.connectContainer({ engine, container, network }));
      expect(twice).to.include({ code: Code.ALREADY_EXISTS, reason: "ENDPOINT_EXISTS" });
      const leave = nap.networks.disconnectContainer;
      expect((await leave({ engine, container, network })).changed).to.equal(true);
      expect(await bench.exec(container, "ip -4 addr")).not.to.include("10.213.8.88");
      expect((await leave({ engine, container, network })).changed).to.equal(false);
      const nobody = await failure(leave({ engine, container: "nobody", network }));
      expect(nobody).to.include({ code: Code.NOT_FOUND, reason: "CONTAINER_NOT_FOUND" });
      const nowhere = await failure(leave({ engine, container, network: "nowhere" }));
      expect(nowhere).to.include({ code: Code.NOT_FOUND, reason: "NETWORK_NOT_FOUND" });
    },
    { row: "network connect" },
  );

  test(
    "network.lists-in-pages-and-in-the-full-view",
    "lists networks page by page, by id, driver and origin, and whole ones in the full view",
    async (bench) => {
      const { nap, engine } = bench;
      const labels = { mark: bench.name("mark") };
      const made = [await bench.network({ labels }), await bench.network({ labels })];
      const filter = { labels: [{ key: "mark", value: labels.mark }] };
      const first = await nap.networks.listNetworks({ engine, filter, pageSize: 1 });
      const { nextPageToken: pageToken } = first;
      const second = await nap.networks.listNetworks({ engine, filter, pageSize: 1, pageToken });
      const both = [...first.networks, ...second.networks];
      expect(both.map(({ name }) => name)).to.deep.equal(made.toSorted());
      expect(second.nextPageToken).to.equal("");
      const ids = [both[0]!.id, both[1]!.id.slice(0, 12)];
      const byId = await nap.networks.listNetworks({
        engine,
        filter: { ids, drivers: ["bridge"] },
      });
      expect(byId.networks.map(({ id }) => id)).to.deep.equal([both[0]!.id]);
      const own = await nap.networks.listNetworks({ engine, filter: { builtIn: true } });
      expect(own.networks.map(({ name }) => name)).to.include.members(["bridge", "host", "none"]);
      const attached = { networks: [{ network: made[0]! }] };
      const { id } = await bench.start(attached);
      const view = ListView.FULL;
      const whole = await nap.networks.listNetworks({
        engine,
        filter: { names: [made[0]!] },
        view,
      });
      const at = whole.networks[0]?.endpoints.map(({ containerId }) => containerId);
      expect(at).to.deep.equal([id]);
    },
    { row: "network list and inspect" },
  );

  test(
    "network.prunes-what-is-selected-and-unused",
    "prunes the networks that are selected and unused",
    async (bench) => {
      const { nap, engine } = bench;
      const labels = { mark: bench.name("mark") };
      const [used, unused] = [await bench.network({ labels }), await bench.network({ labels })];
      const attached = { networks: [{ network: used }] };
      await bench.start(attached);
      const filter = [{ key: "mark", value: labels.mark }];
      const listed = async (part: object): Promise<string[]> => {
        const request = { engine, filter: { labels: filter, ...part } };
        return (await nap.networks.listNetworks(request)).networks.map(({ name }) => name);
      };
      expect(await listed({ unused: true })).to.deep.equal([unused]);
      expect(await listed({ unused: false })).to.deep.equal([used]);
      expect(await listed({ unused: true, builtIn: true })).to.deep.equal([]);
      const { createTime: createdBefore } =
        (await nap.networks.getNetwork({ engine, network: unused })).network ?? {};
      expect(await listed({ createdBefore })).to.deep.equal([used]);
      expect(await listed({ excludedLabels: [{ key: "no" }, ...filter] })).to.deep.equal([]);
      const none = await nap.networks.pruneNetworks({
        engine,
        filter: { labels: filter, createdBefore },
      });
      expect(none.networkNames).to.deep.equal([]);
      const done = await nap.networks.pruneNetworks({ engine, filter: { labels: filter } });
      expect(done.networkNames).to.deep.equal([unused]);
    },
    { row: "network prune" },
  );

  test(
    "network.refuses-a-container-on-a-missing-one",
    "refuses a container on a network that is not there, when it is created",
    async ({ nap, engine, image }) => {
      const spec = { source: imageSource(image), networks: [{ network: "no-such" }] };
      const error = await failure(nap.containers.createContainer({ engine, spec }));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "NETWORK_NOT_FOUND" });
    },
    { row: "network connect" },
  );

  test(
    "network.internal-leads-nowhere",
    "internal: has no way to what is beyond the host",
    async (bench) => {
      const open = await bench.network();
      const none = { network: { mode: { case: "isolated" as const, value: {} } } };
      const serve = ["nc", "-ll", "-p", "7020", "-e", "echo", "from beyond"];
      const { pid } = await bench.start({ namespaces: none }, serve);
      await bench.onHost(beyond, String(pid));
      bench.cleanUp(() => bench.onHost("ip link del nap-beyond"));
      const script =
        "for n in $(seq 50); do timeout 2 nc 10.213.13.2 7020 && exit; sleep 0.2; done";
      expect((await bench.run(on({ network: open }), script)).stdout).to.equal("from beyond\n");
      const internal = await bench.network({ internal: true });
      const kept = await bench.run(
        on({ network: internal }),
        "timeout 3 nc 10.213.13.2 7020; exit $?",
      );
      expect(kept.stdout).to.equal("");
      expect(kept.exit?.code).not.to.equal(0);
      bench.seen = "reached from another network, and not from this one";
    },
    { row: "network create" },
  );

  test(
    "network.takes-driver-options",
    "driver options: the interface has the MTU that was asked for",
    async (bench) => {
      const network = await bench.network({
        driverOptions: { "com.docker.network.driver.mtu": "1400" },
      });
      const { stdout } = await bench.run(on({ network }), "cat /sys/class/net/eth0/mtu");
      expect(stdout).to.equal("1400\n");
      bench.seen = stdout;
    },
    { row: "network create" },
  );

  test(
    "network.gives-addresses-of-the-range",
    "gives addresses out of the range, but those that are taken, and the gateway asked for",
    async (bench) => {
      const pool = {
        subnet: "10.213.10.0/24",
        ipRange: "10.213.10.128/30",
        gateway: "10.213.10.254",
        auxiliaryAddresses: { router: "10.213.10.129" },
      };
      const network = await bench.network({ ipam: { pools: [pool] } });
      const addresses: string[] = [];
      for (let n = 0; n < 3; n++) {
        const { id } = await bench.start(on({ network }));
        addresses.push(await bench.exec(id, "ip -4 -o addr show eth0 | awk '{print $4}'"));
        expect(await bench.exec(id, "ip route | awk '/^default/ {print $3}'")).to.equal(
          pool.gateway,
        );
      }
      const free = [128, 130, 131].map((last) => `10.213.10.${last}/24`);
      expect(addresses).to.have.members(free);
      bench.seen = addresses.join(", ");
    },
    { row: "network create" },
  );

  test(
    "network.gives-ipv6-addresses",
    "gives IPv6 addresses, over which containers reach each other",
    async (bench) => {
      const pools = [{ subnet: "10.213.11.0/24" }, { subnet: "fd00:213::/64" }];
      const network = await bench.network({ enableIpv6: true, ipam: { pools } });
      const ipv6Address = "fd00:213::77";
      const { id } = await bench.start(on({ network, endpoint: { ipv6Address } }));
      expect(await bench.exec(id, "ip -6 addr show eth0")).to.include(`${ipv6Address}/64`);
      const script = `for n in $(seq 20); do ping6 -c 1 -W 2 ${ipv6Address} && exit; sleep 0.2; done`;
      const { stdout } = await bench.run(on({ network }), script);
      expect(stdout).to.include("1 packets received");
      bench.seen = `${ipv6Address} answers`;
    },
    { row: "network create" },
  );

  test(
    "network.keeps-labels-and-refuses-a-missing-driver",
    "attachable and labels come back, and a driver that is not there is refused",
    async (bench) => {
      const { nap, engine } = bench;
      const labels = { a: "b=c", empty: "" };
      const network = await bench.network({ attachable: true, labels });
      const found = await nap.networks.getNetwork({ engine, network });
      expect(found.network?.spec).to.deep.include({ attachable: true, labels });
      const spec = { driver: "no-such" };
      const name = bench.name("network");
      const error = await failure(nap.networks.createNetwork({ engine, name, spec }));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "NETWORK_DRIVER_NOT_FOUND" });
      bench.seen = error.reason;
    },
    { row: "network create" },
  );

  test(
    "network.connects-with-links",
    "connects with links: the alias resolves to the other container",
    async (bench) => {
      const { nap, engine } = bench;
      const network = await bench.network();
      const other = await bench.start(on({ network }));
      const { id: container } = await bench.start({});
      const endpoint = { links: [{ container: other.name, alias: "linked" }] };
      await nap.networks.connectContainer({ engine, container, network, endpoint });
      const found = await bench.exec(container, "nslookup linked");
      expect(found).to.include(other.endpoints[0]?.ipv4Address);
      bench.seen = `linked is ${other.endpoints[0]?.ipv4Address}`;
    },
    { row: "network connect" },
  );

  test(
    "network.disconnects-by-force",
    "disconnects by force, and the interface is gone",
    async (bench) => {
      const { nap, engine } = bench;
      const network = await bench.network();
      const { id: container } = await bench.start(on({ network }));
      expect(await bench.exec(container, "ls /sys/class/net")).to.equal("eth0\nlo");
      const request = { engine, container, network, force: true };
      expect((await nap.networks.disconnectContainer(request)).changed).to.equal(true);
      expect(await bench.exec(container, "ls /sys/class/net")).to.equal("lo");
      const found = await nap.networks.getNetwork({ engine, network });
      expect(found.network?.endpoints).to.deep.equal([]);
      bench.seen = "only lo is left";
    },
    { row: "network disconnect" },
  );
}

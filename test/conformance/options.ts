/** The options of a container, each proven by what a process inside sees or what the wire shows. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { DeviceKind, NamespaceMode, RestartMode } from "../../gen/nap/v1/container_spec_pb.js";
import { PortProtocol } from "../../gen/nap/v1/types_pb.js";
import type { Bench, Case, SpecInit } from "./bench.js";
import { eventually, failure } from "./bench.js";

/** An option whose effect a script inside the container prints. */
interface Effect {
  readonly name: string;
  readonly spec: SpecInit;
  readonly script: string;
  readonly shows: string | RegExp;
  /** Why the effect cannot be seen on this machine. Undefined: it can. */
  readonly unobservable?: () => string | undefined;
}

/** A runtime cannot give a container capabilities that it does not have itself. */
function withoutAllCapabilities(): string | undefined {
  const status = readFileSync("/proc/self/status", "utf8");
  const bounding = BigInt(`0x${/^CapBnd:\t([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const last = BigInt(readFileSync("/proc/sys/kernel/cap_last_cap", "utf8").trim());
  const missing = ((1n << (last + 1n)) - 1n) & ~bounding;
  return missing === 0n ? undefined : `this process lacks capabilities 0x${missing.toString(16)}`;
}

const MiB = 1024n * 1024n;
const cgroup = "cat /sys/fs/cgroup";
const capability = (number: number): string =>
  `echo $(( (0x$(sed -n 's/^CapEff:\\t//p' /proc/self/status) >> ${number}) & 1 ))`;

const effects: readonly Effect[] = [
  { name: "hostname", spec: { hostname: "host-1" }, script: "hostname", shows: "host-1" },
  {
    name: "domainname",
    spec: { domainname: "example.test" },
    script: "cat /proc/sys/kernel/domainname",
    shows: "example.test",
  },
  {
    name: "environment",
    spec: { environment: { A: "1 2", B: "x=y", C: "" } },
    script: 'echo "$A|$B|${C-unset}"',
    shows: "1 2|x=y|",
  },
  { name: "working_dir", spec: { workingDir: "/data" }, script: "pwd", shows: "/data" },
  { name: "user by name", spec: { user: "app" }, script: "id -u", shows: "1000" },
  { name: "user by uid and gid", spec: { user: "12:34" }, script: "id -u; id -g", shows: "12\n34" },
  {
    name: "additional_groups",
    spec: { additionalGroups: ["staff", "777"] },
    script: "id -G",
    shows: "0 50 777",
  },
  { name: "tty", spec: { tty: true }, script: "test -t 1 && echo terminal", shows: "terminal" },
  {
    name: "read_only_root_filesystem",
    spec: { readOnlyRootFilesystem: true },
    script: "touch /x 2>&1",
    shows: /Read-only file system/,
  },
  {
    name: "init",
    spec: { init: true },
    script: "cat /proc/1/comm",
    shows: /init|tini/,
  },
  {
    name: "memory_limit_bytes",
    spec: { resources: { memoryLimit: { case: "memoryLimitBytes", value: 32n * MiB } } },
    script: `${cgroup}/memory/memory.limit_in_bytes 2>/dev/null || ${cgroup}/memory.max`,
    shows: String(32n * MiB),
  },
  {
    name: "memory_reservation_bytes",
    spec: { resources: { memoryReservationBytes: 16n * MiB } },
    script: `${cgroup}/memory/memory.soft_limit_in_bytes 2>/dev/null || ${cgroup}/memory.low`,
    shows: String(16n * MiB),
  },
  {
    name: "cpu_shares",
    spec: { resources: { cpuShares: 512n } },
    script: `${cgroup}/cpu/cpu.shares 2>/dev/null || ${cgroup}/cpu.weight`,
    shows: /^(512|20|59)$/,
  },
  {
    name: "cpu_period_micros and cpu_quota_micros",
    spec: {
      resources: { cpuPeriodMicros: 50_000n, cpuQuota: { case: "cpuQuotaMicros", value: 25_000n } },
    },
    script: `cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us 2>/dev/null || tr ' ' '\\n' <cpu.max`,
    shows: "25000\n50000",
  },
  {
    name: "cpuset_cpus",
    spec: { resources: { cpusetCpus: [0] } },
    script: "sed -n 's/^Cpus_allowed_list:\\t//p' /proc/self/status",
    shows: "0",
  },
  {
    name: "cpuset_mems",
    spec: { resources: { cpusetMems: [0] } },
    script: "sed -n 's/^Mems_allowed_list:\\t//p' /proc/self/status",
    shows: "0",
  },
  {
    name: "block_io rates",
    spec: {
      resources: {
        blockIo: { readBytesPerSecond: [{ devicePath: "/dev/loop0", rate: 1_048_576n }] },
      },
    },
    script: "cat /sys/fs/cgroup/blkio/blkio.throttle.read_bps_device",
    shows: /^7:0 1048576$/,
    unobservable: () => (existsSync("/dev/loop0") ? undefined : "there is no /dev/loop0"),
  },
  {
    name: "pids_limit_count",
    spec: { resources: { pidsLimit: { case: "pidsLimitCount", value: 8n } } },
    script: "for n in 1 2 3 4 5 6 7 8 9; do sleep 1 & done 2>&1; wait",
    shows: /can't fork|Resource temporarily unavailable/,
  },
  {
    name: "ulimits",
    spec: {
      ulimits: [
        {
          name: "nofile",
          soft: { limit: { case: "amount", value: 128n } },
          hard: { limit: { case: "amount", value: 256n } },
        },
      ],
    },
    script: "ulimit -Sn; ulimit -Hn",
    shows: "128\n256",
  },
  {
    name: "oom_score_adj",
    spec: { oomScoreAdj: 300 },
    script: "cat /proc/self/oom_score_adj",
    shows: "300",
  },
  {
    name: "shm_size_bytes",
    spec: { shmSizeBytes: 8n * MiB },
    script: "df -k /dev/shm | awk 'NR==2 {print $2}'",
    shows: "8192",
  },
  {
    name: "sysctls",
    spec: { sysctls: { "net.ipv4.ip_unprivileged_port_start": "77" } },
    script: "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    shows: "77",
  },
  {
    name: "privileged",
    spec: { security: { privileged: true } },
    script: capability(21),
    shows: "1",
    unobservable: withoutAllCapabilities,
  },
  {
    name: "capabilities_add",
    spec: { security: { capabilitiesAdd: ["NET_ADMIN"] } },
    script: `${capability(12)}; ${capability(21)}`,
    shows: "1\n0",
  },
  {
    name: "capabilities_drop",
    spec: { security: { capabilitiesDrop: ["ALL"] } },
    script: "sed -n 's/^CapEff:\\t//p' /proc/self/status",
    shows: "0000000000000000",
  },
  {
    name: "no_new_privileges",
    spec: { security: { noNewPrivileges: true } },
    script: "sed -n 's/^NoNewPrivs:\\t//p' /proc/self/status",
    shows: "1",
  },
  {
    name: "seccomp_unconfined",
    spec: { security: { seccomp: { case: "seccompUnconfined", value: {} } } },
    script: "sed -n 's/^Seccomp:\\t//p' /proc/self/status",
    shows: "0",
  },
  {
    name: "seccomp_profile",
    spec: {
      security: {
        seccomp: {
          case: "seccompProfile",
          value: {
            defaultAction: "SCMP_ACT_ALLOW",
            syscalls: [
              { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 },
              {
                names: ["personality"],
                action: "SCMP_ACT_ERRNO",
                args: [{ index: 0, value: 4_294_967_295n, op: "SCMP_CMP_EQ" }],
              },
            ],
          },
        },
      },
    },
    script:
      "sed -n 's/^Seccomp:\\t//p' /proc/self/status; mkdir /made 2>&1; touch /file && echo touched",
    shows: /^2\n.*Operation not permitted\ntouched$/,
  },
  {
    name: "masked_paths",
    spec: { security: { maskedPaths: { paths: ["/data"] } } },
    script: "ls -A /data | wc -l; head -c 1 /proc/kcore | wc -c",
    shows: /^0\n[01]$/,
  },
  {
    name: "read_only_paths, none of them",
    spec: { security: { readOnlyPaths: { paths: [] } } },
    script: "grep -c ' /proc/sys ' /proc/mounts",
    shows: "0",
  },
  {
    name: "read_only_paths",
    spec: { security: { readOnlyPaths: { paths: ["/data"] } } },
    script: "touch /data/x 2>&1",
    shows: /Read-only file system/,
  },
  {
    name: "network none",
    spec: { network: { mode: { case: "none", value: {} } } },
    script: "ls /sys/class/net",
    shows: "lo",
  },
  {
    name: "dns_servers, dns_searches and dns_options",
    spec: {
      network: { dnsServers: ["10.9.8.7"], dnsSearches: ["example.test"], dnsOptions: ["ndots:3"] },
    },
    script: "cat /etc/resolv.conf",
    shows: /^(?=[^]*nameserver 10\.9\.8\.7)(?=[^]*search example\.test)(?=[^]*options ndots:3)/,
  },
  {
    name: "extra_hosts",
    spec: {
      network: {
        extraHosts: [
          { hostname: "db", target: { case: "address", value: "10.9.8.7" } },
          { hostname: "six", target: { case: "address", value: "fd00::7" } },
        ],
      },
    },
    script: "grep -c -E '10.9.8.7\\s+db|fd00::7\\s+six' /etc/hosts",
    shows: "2",
  },
  {
    name: "mac_address",
    spec: {
      network: {
        mode: {
          case: "attachments",
          value: { items: [{ network: "bridge", endpoint: { macAddress: "02:42:00:11:22:33" } }] },
        },
      },
    },
    script: "cat /sys/class/net/eth0/address",
    shows: "02:42:00:11:22:33",
  },
  {
    name: "tmpfs with size and permissions",
    spec: {
      mounts: [
        {
          target: "/t",
          source: { case: "tmpfs", value: { sizeBytes: 4n * MiB, permissions: 0o700 } },
        },
      ],
    },
    script: "df -k /t | awk 'NR==2 {print $2}'; stat -c %a /t",
    shows: "4096\n700",
  },
  {
    name: "tmpfs with options",
    spec: {
      mounts: [
        {
          target: "/t",
          readOnly: true,
          source: { case: "tmpfs", value: { sizeBytes: MiB, options: ["noexec"] } },
        },
      ],
    },
    script: "grep ' /t ' /proc/mounts",
    shows: /ro,[^ ]*noexec.*size=1024k/,
  },
  {
    name: "an anonymous volume, filled with what the image has there",
    spec: { mounts: [{ target: "/data", source: { case: "volume", value: {} } }] },
    script: "cat /data/seed; grep -c ' /data ' /proc/mounts",
    shows: "from the image\n1",
  },
  {
    name: "a volume that is not filled (no_copy)",
    spec: { mounts: [{ target: "/data", source: { case: "volume", value: { noCopy: true } } }] },
    script: "ls -A /data | wc -l",
    shows: "0",
  },
  {
    name: "devices with permissions",
    spec: {
      devices: [{ hostPath: "/dev/fuse", containerPath: "/dev/some", permissions: { read: true } }],
    },
    script: "(: </dev/some) && echo readable; (: >/dev/some) 2>&1",
    shows: /^readable\n.*(not permitted|denied)/,
    unobservable: () => (existsSync("/dev/fuse") ? undefined : "there is no /dev/fuse"),
  },
  {
    name: "device_cgroup_rules",
    spec: {
      deviceCgroupRules: [
        {
          kind: DeviceKind.CHARACTER,
          major: 1,
          minor: 5,
          permissions: { read: true, makeNode: true },
        },
      ],
    },
    script: "mknod /made c 1 5 && head -c 4 /made | wc -c",
    shows: "4",
  },
  {
    name: "pid namespace of the host",
    spec: { namespaces: { pid: { mode: { case: "host", value: {} } } } },
    script: "ps | grep -c '[d]ockerd' | sed 's/[1-9].*/seen/'",
    shows: "seen",
  },
];

function effectCase({ name, spec, script, shows, unobservable }: Effect): Case {
  return {
    name: `${name}: takes effect`,
    ...(unobservable && { unobservable }),
    run: async (bench) => {
      const { stdout, stderr } = await bench.run(spec, script);
      const seen = stdout.replace(/\r/g, "").trim();
      if (typeof shows === "string") expect(seen, stderr).to.equal(shows);
      else expect(seen, stderr).to.match(shows);
    },
  };
}

export const optionCases: readonly Case[] = [
  ...effects.map(effectCase),
  {
    name: "command and entrypoint: the arguments come as they are",
    run: async (bench) => {
      const odd = ["a b", "", "$HOME", "*"];
      const entrypoint = { arguments: ["sh", "-c", 'for a; do echo "[$a]"; done', "sh"] };
      const spec = { entrypoint, command: { arguments: odd } };
      const { stdout } = await bench.run(spec, "");
      expect(stdout).to.equal("[a b]\n[]\n[$HOME]\n[*]\n");
    },
  },
  {
    name: "labels: come back, nap's own names are refused",
    run: async (bench) => {
      const { nap, engine, image } = bench;
      const labels = { "com.example.a": "b=c", empty: "" };
      expect((await bench.create({ labels })).spec?.labels).to.deep.equal(labels);
      const spec = { image, labels: { "nap.v1.request-id": "forged" } };
      const error = await failure(nap.containers.createContainer({ engine, spec }));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(error.fields).to.deep.equal(["spec.labels"]);
    },
  },
  {
    name: "memory_limit_bytes: an allocation above it is killed and reported",
    run: async (bench) => {
      const memoryLimit = { case: "memoryLimitBytes" as const, value: 8n * MiB };
      const swapLimit = { case: "swapLimitBytes" as const, value: 0n };
      const spec = { resources: { memoryLimit, swapLimit } };
      const script = "exec awk 'BEGIN { x = \"0123456789abcdef\"; while (1) x = x x }'";
      const { exit } = await bench.run(spec, script);
      expect(exit).to.include({ code: 137, oomKilled: true });
    },
  },
  {
    name: "restart_policy: a failing container is started again as often as it says",
    run: async (bench) => {
      const restartPolicy = { mode: RestartMode.ON_FAILURE, maximumRetryCount: 2 };
      const { id } = await bench.start({ restartPolicy }, ["sh", "-c", "echo run; exit 1"]);
      const container = await eventually(async () => {
        const now = await bench.get(id);
        return now.restartCount === 2 && now.exit !== undefined ? now : undefined;
      });
      expect(container.exit?.code).to.equal(1);
      expect(container.spec?.restartPolicy).to.include(restartPolicy);
    },
  },
  {
    name: "stop_signal and stop_timeout: a stop asks first",
    run: async (bench) => {
      const { nap, engine } = bench;
      const script = "trap 'exit 42' USR1; echo ready; while :; do sleep 0.05; done";
      const spec = { stopSignal: "SIGUSR1", stopTimeout: { seconds: 20n } };
      const { id: container } = await bench.start(spec, ["sh", "-c", script]);
      const logs = nap.containers.streamContainerLogs({ engine, container, follow: true });
      for await (const { event } of logs) if (event.case === "batch") break;
      await nap.containers.stopContainer({ engine, container });
      expect((await bench.get(container)).exit?.code).to.equal(42);
    },
  },
  {
    name: "host_path: read-write and read-only, missing sources are refused",
    run: async (bench) => {
      const { nap, engine, image } = bench;
      const directory = join(bench.hostDirectory, bench.name("bind"));
      mkdirSync(directory);
      writeFileSync(join(directory, "file"), "from the host\n");
      const origin = { case: "hostPath" as const, value: directory };
      const source = { case: "bind" as const, value: { origin } };
      const writable = await bench.run(
        { mounts: [{ target: "/b", source }] },
        "cat /b/file; echo x >/b/new",
      );
      expect(writable.stdout).to.equal("from the host\n");
      expect(readFileSync(join(directory, "new"), "utf8")).to.equal("x\n");
      const mounts = [{ target: "/b", readOnly: true, source }];
      expect((await bench.run({ mounts }, "touch /b/no")).stderr).to.include("Read-only");
      const made = join(directory, "made");
      const create = {
        origin: { case: "hostPath" as const, value: made },
        createHostPath: true,
      };
      const maker = { target: "/b", source: { case: "bind" as const, value: create } };
      await bench.run({ mounts: [maker] }, "echo y >/b/file");
      expect(readFileSync(join(made, "file"), "utf8")).to.equal("y\n");
      const missing = { case: "hostPath" as const, value: join(directory, "missing") };
      const spec = {
        image,
        command: { arguments: ["true"] },
        mounts: [{ target: "/b", source: { case: "bind" as const, value: { origin: missing } } }],
      };
      const error = await failure(nap.containers.createContainer({ engine, spec }));
      expect(error).to.include({
        code: Code.FAILED_PRECONDITION,
        reason: "BIND_SOURCE_NOT_FOUND",
      });
    },
  },
  {
    name: "port_bindings: refused where the container has the host's network, and nothing is left",
    run: async (bench) => {
      const { nap, engine, image } = bench;
      const mode = { case: "host" as const, value: {} };
      const network = { mode, portBindings: [{ containerPort: 7000 }] };
      const name = bench.name("dropped");
      const spec = { image, command: { arguments: ["true"] }, network };
      const error = await failure(nap.containers.createContainer({ engine, name, spec }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "ENGINE_DROPPED_FIELD" });
      const gone = await failure(nap.containers.getContainer({ engine, container: name }));
      expect(gone.reason).to.equal("CONTAINER_NOT_FOUND");
    },
  },
  {
    name: "tmpfs: permissions of zero are not taken for unset",
    run: async (bench) => {
      const source = { case: "tmpfs" as const, value: { permissions: 0 } };
      const { stdout } = await bench.run({ mounts: [{ target: "/t", source }] }, "stat -c %a /t");
      expect(stdout).to.equal("0\n");
    },
  },
  {
    name: "port_bindings: refused where nothing could be published, and an end without a beginning",
    run: async (bench) => {
      const { nap, engine, image } = bench;
      const none = { case: "none" as const, value: {} };
      for (const [network, field] of [
        [{ mode: none, portBindings: [{ containerPort: 7000 }] }, "port_bindings"],
        [{ mode: none, publishAllPorts: true }, "publish_all_ports"],
        [
          { portBindings: [{ containerPort: 7000, hostPortRangeEnd: 9 }] },
          "port_bindings[0].host_port_range_end",
        ],
      ] as const) {
        const spec = { image, command: { arguments: ["true"] }, network } as SpecInit;
        const error = await failure(nap.containers.createContainer({ engine, spec } as object));
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
        expect(error.fields).to.deep.equal([`spec.network.${field}`]);
      }
    },
  },
  {
    name: "mounts: two at one target are refused",
    run: async (bench) => {
      const { nap, engine, image } = bench;
      const tmp = { case: "hostPath" as const, value: "/tmp" };
      const mounts = [
        { target: "/t", source: { case: "tmpfs" as const, value: {} } },
        { target: "/./t/", source: { case: "bind" as const, value: { origin: tmp } } },
      ];
      const spec = { image, command: { arguments: ["true"] }, mounts };
      const error = await failure(nap.containers.createContainer({ engine, spec } as object));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(error.fields).to.deep.equal(["spec.mounts[1].target"]);
    },
  },
  {
    name: "volumes_from: the same files, read-only if asked",
    run: async (bench) => {
      const mounts = [{ target: "/v", source: { case: "volume" as const, value: {} } }];
      const { id: container } = await bench.start({ mounts }, [
        "sh",
        "-c",
        "echo s >/v/f; sleep 60",
      ]);
      await eventually(async () => (await bench.exec(container, "ls /v")) === "f" || undefined);
      const spec = { volumesFrom: [{ container, readOnly: true }] };
      const { stdout, stderr } = await bench.run(spec, "cat /v/f; touch /v/x");
      expect(stdout).to.equal("s\n");
      expect(stderr).to.include("Read-only");
    },
  },
  {
    name: "links: the alias resolves",
    run: async (bench) => {
      const { name } = await bench.start({});
      const links = [{ container: name, alias: "linked" }];
      const items = [{ network: "bridge", endpoint: { links } }];
      const network = { mode: { case: "attachments" as const, value: { items } } };
      const { stdout } = await bench.run({ network }, "grep -c linked /etc/hosts");
      expect(stdout).to.equal("1\n");
    },
  },
  {
    name: "network of another container, and pid and ipc namespaces of another",
    run: async (bench) => {
      const isolated = { ipc: { mode: { case: "shareable" as const, value: {} } } };
      const { id: container } = await bench.start({ namespaces: isolated });
      const mode = { case: "container" as const, value: container };
      const spec = { network: { mode }, namespaces: { pid: { mode }, ipc: { mode } } };
      const list = "for n in net pid ipc; do readlink /proc/self/ns/$n; done";
      const shared = await bench.run(spec, list);
      expect(shared.stdout.trim()).to.equal(await bench.exec(container, list));
    },
  },
  {
    name: "network, uts and ipc of the host",
    run: async (bench) => {
      const host = { mode: { case: "host" as const, value: {} } };
      const own = await bench.run({}, "for n in net uts ipc; do readlink /proc/self/ns/$n; done");
      const spec = { network: host, namespaces: { ipc: host, uts: NamespaceMode.HOST, pid: host } };
      const shared = await bench.run(
        spec,
        "for n in net uts ipc; do readlink /proc/self/ns/$n; done",
      );
      const engineHost = await bench.run(
        { namespaces: { pid: host }, security: { capabilitiesAdd: ["SYS_PTRACE"] } },
        "for n in net uts ipc; do readlink /proc/1/ns/$n; done",
      );
      expect(shared.stdout).to.equal(engineHost.stdout);
      expect(own.stdout).not.to.equal(shared.stdout);
    },
  },
  {
    name: "port_bindings: every form answers over TCP and UDP",
    run: async (bench) => {
      const portBindings = [
        { containerPort: 7000, hostPort: 18_001 },
        { containerPort: 7000, hostPort: 18_002 },
        { containerPort: 7000, hostAddress: "127.0.0.1", hostPort: 18_003 },
        { containerPort: 7000, hostAddress: "127.0.0.1" },
        { containerPort: 7000 },
        { containerPort: 7001, protocol: PortProtocol.UDP, hostPort: 18_004 },
      ];
      const { id, spec } = await bench.start({ network: { portBindings } }, ["sh", "-c", servers]);
      expect(spec?.network?.portBindings).to.have.length(portBindings.length);
      const { ports } = await bench.get(id);
      const tcp = ports.filter(({ protocol }) => protocol === PortProtocol.TCP);
      for (const port of [18_001, 18_002, 18_003]) {
        expect(tcp.map(({ hostPort }) => hostPort)).to.include(port);
      }
      // 127.0.0.1 is one of "all addresses", and the address that the others are bound to.
      const reachable = new Set(tcp.map(({ hostPort }) => hostPort));
      expect(reachable.size).to.equal(5);
      for (const port of reachable)
        expect(await onHost(bench, `nc 127.0.0.1 ${port}`)).to.equal("tcp");
      const answer = await onHost(bench, udpClient(18_004));
      expect(answer).to.equal("udp");
    },
  },
  {
    name: "publish_all_ports: every exposed port answers",
    run: async (bench) => {
      const network = { exposedPorts: [{ containerPort: 7000 }], publishAllPorts: true };
      const { ports } = await bench.start({ network }, ["sh", "-c", servers]);
      const [port] = ports;
      expect(port?.containerPort).to.equal(7000);
      expect(await onHost(bench, `nc 127.0.0.1 ${port?.hostPort}`)).to.equal("tcp");
    },
  },
  {
    name: "host_port: one that is taken is refused at the start",
    run: async (bench) => {
      const { nap, engine } = bench;
      const network = { portBindings: [{ containerPort: 7000, hostPort: 18_010 }] };
      await bench.start({ network });
      const { id: container } = await bench.create({ network });
      const error = await failure(nap.containers.startContainer({ engine, container }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "HOST_PORT_IN_USE" });
    },
  },
];

/** Answers "tcp" on port 7000 and "udp" on port 7001, again and again. */
const servers = `
  nc -ll -p 7000 -e echo tcp &
  exec perl -e '
    socket(S, 2, 2, 17); bind(S, pack("Sna4x8", 2, 7001, "\\0\\0\\0\\0"));
    while (defined($peer = recv(S, $_, 99, 0))) { send(S, "udp", 0, $peer) }'`;

/** Sends a datagram to 127.0.0.1 and prints the answer. */
const udpClient = (port: number): string =>
  `perl -e 'alarm 1; socket(S, 2, 2, 17); connect(S, pack("SnC4x8", 2, ${port}, 127, 0, 0, 1));
    send(S, "x", 0); recv(S, $_, 99, 0); print'`;

/** What a script prints on the engine's host network. */
async function onHost(bench: Bench, script: string): Promise<string> {
  const spec = { network: { mode: { case: "host" as const, value: {} } } };
  const tries = `for n in 1 2 3 4 5 6 7 8; do out=$(${script}) && [ -n "$out" ] && break; sleep 0.2; done; echo $out`;
  return (await bench.run(spec, tries)).stdout.trim();
}

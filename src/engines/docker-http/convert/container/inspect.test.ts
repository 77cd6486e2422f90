/** Containers as any client of dockerd made them, read from what dockerd 20.10 reports of them. */
import { toJson } from "@bufbuild/protobuf";
import { expect } from "chai";
import type { ContainerSpec } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { ContainerSpecSchema } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { ContainerState } from "../../../../../gen/nap/v1/container_service_pb.js";
import { HealthCheckResultSchema } from "../../../../../gen/nap/v1/types_pb.js";
import { containerFromDocker } from "./container.js";
import { specFromDocker } from "./container-spec.js";
import type { ContainerJson } from "../../json.js";
import { inspected } from "../../../../../test/support/requests/inspect.js";
import { imageSource } from "../../../../../test/support/requests/source.js";

type Expected = Record<string, unknown>;
const other = "fe72745cf7613f4697783e5c10a1ba323ad7a2d96591b7fa80cdbd7050154b03";
/** Only the loopback. */
const alone = { namespaces: { network: { isolated: {} } } };

/** How a container was made, what inspect then shows, and what the spec has beside its image. */
const table: readonly [how: string, json: ContainerJson, spec: Expected][] = [
  [
    "with nothing but dockerd's defaults",
    inspected(
      {
        Hostname: "b6739b3ed9fb",
        Domainname: "",
        User: "",
        Tty: false,
        Env: null,
        Cmd: null,
        Entrypoint: null,
        Labels: {},
        ExposedPorts: null,
        Volumes: null,
        WorkingDir: "",
      },
      {
        Binds: null,
        NetworkMode: "default",
        PortBindings: {},
        RestartPolicy: { Name: "no", MaximumRetryCount: 0 },
        CapAdd: null,
        SecurityOpt: null,
        PidMode: "",
        UTSMode: "",
        Memory: 0,
        MemorySwap: 0,
        MemorySwappiness: null,
        OomKillDisable: false,
        PidsLimit: null,
        BlkioWeight: 0,
        BlkioWeightDevice: [],
        KernelMemory: 0,
        CpusetCpus: "",
        OomScoreAdj: 0,
        Ulimits: null,
        Devices: [],
        DeviceRequests: null,
        Links: null,
      },
      {
        bridge: { IPAMConfig: null, Links: null, Aliases: null, DriverOpts: null, MacAddress: "" },
      },
    ),
    { networks: [{ network: "bridge", endpoint: {} }] },
  ],
  [
    "with a link on the default bridge, which dockerd reports with the container's own name",
    inspected({}, { NetworkMode: "default", Links: ["/base:/cli/db"] }, { bridge: {} }),
    {
      networks: [{ network: "bridge", endpoint: { links: [{ container: "base", alias: "db" }] } }],
    },
  ],
  [
    "with names, an address and a MAC address on a network, and on another one",
    inspected(
      { MacAddress: "02:42:00:00:00:01" },
      { NetworkMode: "n1" },
      {
        n0: { Links: ["base:db"], GwPriority: 7 },
        n1: { IPAMConfig: { IPv4Address: "172.18.0.9" }, Aliases: ["al", "b6739b3ed9fb"] },
      },
    ),
    {
      networks: [
        {
          network: "n1",
          endpoint: {
            aliases: ["al"],
            ipv4Address: "172.18.0.9",
            macAddress: "02:42:00:00:00:01",
          },
        },
        {
          network: "n0",
          endpoint: { links: [{ container: "base", alias: "db" }], gatewayPriority: 7 },
        },
      ],
    },
  ],
  [
    "with another container's network and shared memory, and the host's processes, privileged",
    inspected(
      {},
      {
        NetworkMode: `container:${other}`,
        IpcMode: `container:${other}`,
        PidMode: "host",
        CgroupnsMode: "host",
        UTSMode: "host",
        Privileged: true,
        SecurityOpt: ["label=disable"],
      },
    ),
    {
      namespaces: {
        network: { container: other },
        ipc: { container: other },
        pid: { host: {} },
        cgroup: { host: {} },
        uts: { host: {} },
      },
      security: { privileged: true },
    },
  ],
  [
    "with `-p 80 -p 127.0.0.1:81:81/udp -p 8000-8001:90 -p 127.0.0.1::95 --expose 99`",
    inspected(
      { ExposedPorts: { "80/tcp": {}, "81/udp": {}, "99/sctp": {} } },
      {
        NetworkMode: "none",
        PortBindings: {
          "80/tcp": [{ HostIp: "", HostPort: "" }],
          "81/udp": [
            { HostIp: "127.0.0.1", HostPort: "81" },
            { HostIp: "::1", HostPort: "82" },
          ],
          "90/tcp": [{ HostIp: "", HostPort: "8000-8001" }],
          "95/tcp": [{ HostIp: "127.0.0.1", HostPort: "" }],
          "96/tcp": null,
        },
      },
    ),
    {
      ...alone,
      networkConfig: {
        exposedPorts: [
          { containerPort: 80, protocol: "PORT_PROTOCOL_TCP" },
          { containerPort: 81, protocol: "PORT_PROTOCOL_UDP" },
          { containerPort: 99, protocol: "PORT_PROTOCOL_SCTP" },
        ],
        portMappings: [
          { containerPort: 80, protocol: "PORT_PROTOCOL_TCP" },
          {
            containerPort: 81,
            protocol: "PORT_PROTOCOL_UDP",
            hostAddress: "127.0.0.1",
            hostPort: 81,
          },
          { containerPort: 81, protocol: "PORT_PROTOCOL_UDP", hostAddress: "::1", hostPort: 82 },
          {
            containerPort: 90,
            protocol: "PORT_PROTOCOL_TCP",
            hostPort: 8000,
            hostPortRangeEnd: 8001,
          },
          { containerPort: 95, protocol: "PORT_PROTOCOL_TCP", hostAddress: "127.0.0.1" },
        ],
      },
    },
  ],
  [
    "with name servers and host entries, one as `name=[address]`",
    inspected(
      {},
      {
        NetworkMode: "host",
        Dns: ["1.1.1.1"],
        DnsSearch: ["a.test"],
        DnsOptions: ["ndots:2"],
        ExtraHosts: ["a:1.2.3.4", "b:host-gateway", "c=[::1]", "d:2001:db8::1"],
      },
    ),
    {
      namespaces: { network: { host: {} } },
      networkConfig: {
        dnsServers: ["1.1.1.1"],
        dnsSearches: ["a.test"],
        dnsOptions: ["ndots:2"],
        extraHosts: [
          { hostname: "a", address: "1.2.3.4" },
          { hostname: "b", hostGateway: {} },
          { hostname: "c", address: "::1" },
          { hostname: "d", address: "2001:db8::1" },
        ],
      },
    },
  ],
  [
    "with `-v /h:/t:ro,z -v /h:/u:rslave -v named:/n:nocopy -v /data --volumes-from base:ro`",
    inspected(
      { Volumes: { "/data": {}, "/n": {} } },
      {
        NetworkMode: "none",
        Binds: ["/h:/t:ro,z", "/h:/u:rslave", "named:/n:nocopy", "/alone"],
        VolumesFrom: ["base:ro", "plain"],
      },
    ),
    {
      ...alone,
      mounts: [
        {
          target: "/t",
          readOnly: true,
          bind: { hostPath: "/h", createHostPath: true, selinuxRelabel: "SELINUX_RELABEL_SHARED" },
        },
        {
          target: "/u",
          bind: { hostPath: "/h", createHostPath: true, propagation: "MOUNT_PROPAGATION_RSLAVE" },
        },
        { target: "/n", volume: { volume: "named", copyImageContent: false } },
        { target: "/alone", volume: {} },
        { target: "/data", volume: {} },
      ],
      volumesFrom: [{ container: "base", readOnly: true }, { container: "plain" }],
    },
  ],
  [
    "with a tmpfs in each form",
    inspected(
      {},
      {
        NetworkMode: "none",
        Tmpfs: { "/a": "rw,noexec,size=64m,mode=1777", "/b": "", "/c": "ro,size=50%" },
        Mounts: [
          {
            Type: "tmpfs",
            Target: "/d",
            TmpfsOptions: { SizeBytes: 1048576, Mode: 448, Options: [["uid", "7"], ["noexec"]] },
          },
        ],
      },
    ),
    {
      ...alone,
      mounts: [
        {
          target: "/d",
          tmpfs: { sizeBytes: "1048576", permissions: 448, options: ["uid=7", "noexec"] },
        },
        { target: "/a", tmpfs: { sizeBytes: "67108864", permissions: 1023, options: ["noexec"] } },
        { target: "/b", tmpfs: {} },
        { target: "/c", readOnly: true, tmpfs: { options: ["size=50%"] } },
      ],
    },
  ],
  [
    "with `--mount` of every type and option",
    inspected(
      {},
      {
        NetworkMode: "none",
        Mounts: [
          {
            Type: "bind",
            Source: "/h",
            Target: "/t",
            ReadOnly: true,
            BindOptions: {
              NonRecursive: true,
              CreateMountpoint: true,
              ReadOnlyForceRecursive: true,
            },
          },
          {
            Type: "volume",
            Source: "v",
            Target: "/v",
            VolumeOptions: {
              Subpath: "s",
              Labels: { a: "b" },
              DriverConfig: { Name: "local", Options: { type: "tmpfs" } },
            },
          },
          { Type: "image", Source: "i:1", Target: "/i", ImageOptions: { Subpath: "s" } },
        ],
      },
    ),
    {
      ...alone,
      mounts: [
        {
          target: "/t",
          readOnly: true,
          bind: {
            hostPath: "/h",
            createHostPath: true,
            nonRecursive: true,
            recursiveReadOnly: "RECURSIVE_READ_ONLY_REQUIRED",
          },
        },
        {
          target: "/v",
          volume: {
            volume: "v",
            subpath: "s",
            createSpec: {
              driver: "local",
              driverOptions: { type: "tmpfs" },
              labels: { a: "b" },
            },
          },
        },
        { target: "/i", image: { image: "i:1", subpath: "s" } },
      ],
    },
  ],
  [
    "with limits, `--cpus` and unlimited swap among them",
    inspected(
      {},
      {
        NetworkMode: "none",
        Memory: 67108864,
        MemorySwap: -1,
        MemorySwappiness: 0,
        KernelMemoryTCP: 1048576,
        NanoCpus: 1500000000,
        PidsLimit: -1,
        CpusetCpus: "0-2,5",
        BlkioWeight: 300,
        BlkioWeightDevice: [{ Path: "/dev/sda", Weight: 200 }],
        Ulimits: [
          { Name: "core", Hard: -1, Soft: -1 },
          { Name: "nofile", Hard: 20, Soft: 10 },
        ],
      },
    ),
    {
      ...alone,
      resources: {
        memoryLimitBytes: "67108864",
        swapUnlimited: {},
        memorySwappiness: "0",
        kernelMemoryTcpLimitBytes: "1048576",
        cpuPeriodMicros: "100000",
        cpuQuotaMicros: "150000",
        pidsUnlimited: {},
        cpusetCpus: [0, 1, 2, 5],
        blockIo: { weight: 300, deviceWeights: [{ devicePath: "/dev/sda", weight: 200 }] },
      },
      ulimits: [
        { name: "core", soft: { unlimited: {} }, hard: { unlimited: {} } },
        { name: "nofile", soft: { amount: "10" }, hard: { amount: "20" } },
      ],
    },
  ],
  [
    "with a restart policy, a log driver, no health check, and times",
    inspected(
      { Healthcheck: { Test: ["NONE"] }, StopTimeout: 0, StopSignal: "SIGINT" },
      {
        NetworkMode: "none",
        RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 },
        LogConfig: { Type: "json-file", Config: { "max-size": "1m" } },
        Init: false,
      },
    ),
    {
      ...alone,
      healthCheck: { disabled: {} },
      stopTimeout: "0s",
      stopSignal: "SIGINT",
      restartPolicy: { mode: "RESTART_MODE_ON_FAILURE", maximumRetryCount: 3 },
      logConfig: { driver: "json-file", options: { "max-size": "1m" } },
      init: false,
    },
  ],
  [
    "with security options in both ways of writing, and labels of SELinux",
    inspected(
      {},
      {
        NetworkMode: "none",
        CapAdd: ["net_admin", "CAP_SYS_TIME"],
        CapDrop: ["ALL"],
        SecurityOpt: [
          "no-new-privileges",
          "label=user:u",
          "label:level:s0:c1,c2",
          "apparmor:unconfined",
          'seccomp={"defaultAction":"SCMP_ACT_ALLOW","archMap":null,"syscalls":[{"names":["a"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":18446744073709551615,"valueTwo":0,"op":"SCMP_CMP_EQ"}],"includes":{}}]}',
        ],
        MaskedPaths: [],
      },
    ),
    {
      ...alone,
      security: {
        capabilitiesAdd: ["NET_ADMIN", "SYS_TIME"],
        capabilitiesDrop: ["ALL"],
        noNewPrivileges: true,
        apparmorProfile: "unconfined",
        selinuxLabel: { user: "u", level: "s0:c1,c2" },
        seccompProfile: {
          defaultAction: "SCMP_ACT_ALLOW",
          syscalls: [
            {
              names: ["a"],
              action: "SCMP_ACT_ERRNO",
              args: [{ index: 1, value: "18446744073709551615", op: "SCMP_CMP_EQ" }],
              includes: {},
            },
          ],
        },
        maskedPaths: {},
      },
    },
  ],
  [
    "with devices, rules and requests",
    inspected(
      {},
      {
        NetworkMode: "none",
        Devices: [{ PathOnHost: "/dev/null", PathInContainer: "/dev/n", CgroupPermissions: "r" }],
        DeviceCgroupRules: ["c 1:* rm"],
        DeviceRequests: [
          { Driver: "", Count: -1, DeviceIDs: null, Capabilities: [["gpu"]], Options: {} },
          { Driver: "nvidia", Count: 0, DeviceIDs: ["0", "GPU-1"], Capabilities: null },
        ],
      },
    ),
    {
      ...alone,
      devices: [{ hostPath: "/dev/null", containerPath: "/dev/n", permissions: { read: true } }],
      deviceCgroupRules: [
        {
          kind: "DEVICE_KIND_CHARACTER",
          major: 1,
          permissions: { read: true, makeNode: true },
        },
      ],
      deviceRequests: [
        { allDevices: {}, capabilities: [{ names: ["gpu"] }] },
        { driver: "nvidia", devices: { ids: ["0", "GPU-1"] } },
      ],
    },
  ],
];

describe("inspect", () => {
  for (const [how, json, expected] of table) {
    it(`reads a container made ${how}`, () => {
      const spec: ContainerSpec = specFromDocker(json);
      expect(toJson(ContainerSpecSchema, spec)).to.deep.equal({ image: "i", ...expected });
    });
  }

  it("reads the engine's own word for a state, and the results of health checks", () => {
    const json = inspected({}, {});
    const [Start, End] = ["2026-01-01T00:00:00.000000001Z", "2026-01-01T01:00:01.5+01:00"];
    const Log = ["short...", `${"ä".repeat(2048)}...`].map((Output) => ({
      Start,
      End,
      ExitCode: -1,
      Output,
    }));
    json.State.Status = "removing";
    json.State.Health = { Status: "unhealthy", FailingStreak: 7, Log };
    const container = containerFromDocker("docker", json);
    expect(container).to.include({
      state: ContainerState.REMOVING,
      engineState: "removing",
      healthFailingStreak: 7,
    });
    const results = container.healthCheckResults.map((each) =>
      toJson(HealthCheckResultSchema, each),
    );
    const common = {
      startTime: Start,
      endTime: "2026-01-01T00:00:01.500Z",
      exitCode: -1,
    };
    expect(results).to.deep.equal([
      { ...common, output: "short..." },
      { ...common, output: "ä".repeat(2048), truncated: true },
    ]);
  });

  it("reads a profile that cannot be read as none, since dockerd looks only at a start", () => {
    const json = inspected({}, { NetworkMode: "none", SecurityOpt: ["seccomp={oops"] });
    expect(specFromDocker(json).security).to.equal(undefined);
    expect(specFromDocker(json).source).to.deep.equal(imageSource("i"));
  });
});

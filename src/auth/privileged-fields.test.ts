/** Every field that a request can set has an access class, and the walk finds the privileged ones. */
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import {
  ContainerStatsSchema,
  CreateContainerRequestSchema,
  ExecContainerSyncRequestSchema,
  UpdateContainerRequestSchema,
} from "../../gen/nap/v1/container_service_pb.js";
import { DeviceKind, MountPropagation } from "../../gen/nap/v1/container_spec_pb.js";
import { BuildImageRequestSchema } from "../../gen/nap/v1/image_service_pb.js";
import { CreateNetworkRequestSchema } from "../../gen/nap/v1/network_service_pb.js";
import { ResourceScope } from "../../gen/nap/v1/types_pb.js";
import { CreateVolumeRequestSchema } from "../../gen/nap/v1/volume_service_pb.js";
import { isTraversed, privilegedFields } from "./privileged-fields.js";
import { accessClasses } from "./access-classes.js";
import { services } from "../core/engines.js";
import { imageSource } from "../../test/support/requests/source.js";
import { byKey } from "../contract/walk.js";
import { fieldKeys } from "../../test/support/requests/keys.js";

/** Returns every field of any request whose class the walk looks up, by its path from the request. */
function leavesOfRequests(): Map<string, readonly string[]> {
  const leaves = new Map<string, readonly string[]>();
  const visit = (desc: DescMessage, above: readonly string[]): void => {
    for (const field of desc.fields) {
      const keys = [...above, desc.typeName].map((key) => `${key}.${field.name}`);
      if (field.message !== undefined && isTraversed(field, keys)) visit(field.message, keys);
      else leaves.set(keys[0] ?? "", keys);
    }
  };
  for (const { input } of services.flatMap(({ desc }) => desc.methods)) visit(input, []);
  return leaves;
}

type SpecInit = NonNullable<MessageInitShape<typeof CreateContainerRequestSchema>["spec"]>;
const inSpec = (spec: SpecInit): string[] => {
  const request = create(CreateContainerRequestSchema, { engine: "e", name: "n", spec });
  return [...privilegedFields(CreateContainerRequestSchema, request)];
};

describe("access classes of the core", () => {
  const leaves = leavesOfRequests();
  const fields = fieldKeys(services.flatMap(({ desc }) => desc.methods.map(({ input }) => input)));

  it("exist for every field that a request can set", () => {
    const without = [...leaves].filter(([, keys]) => byKey(accessClasses, keys) === undefined);
    expect(without.map(([path]) => path)).to.deep.equal([]);
    expect(leaves.size).to.be.greaterThan(600);
  });

  it("name fields of requests, and values that these can have", () => {
    const asked = new Set([...leaves.values()].flat());
    for (const [key, kind] of accessClasses) {
      const [name = "", value] = key.split("=");
      expect(asked, key).to.include(name);
      if (value === undefined) continue;
      expect(kind, key).not.to.equal(accessClasses.get(name));
      const field = fields.get(name);
      if (field?.enum !== undefined) {
        expect(
          field.enum.values.map((each) => each.name),
          key,
        ).to.include(value);
      } else if (field?.fieldKind === "scalar" && /^(true|false)$/.test(value)) {
        expect(field.scalar, key).to.equal(8);
      }
    }
  });

  it("exempt no message as a whole, which may gain fields", () => {
    const messages = [...leaves].flatMap(([path, keys]) => {
      const message = fields.get(path)?.message;
      return message === undefined || message.typeName.startsWith("google.")
        ? []
        : [[message, keys] as const];
    });
    expect(messages).not.to.deep.equal([]);
    for (const [message, keys] of messages) {
      const expected = message.fields.length === 0 ? /./ : /^privileged$/;
      expect(byKey(accessClasses, keys), keys[0]).to.match(expected);
    }
  });

  it("count a field that has none as privileged", () => {
    // No request contains this message, so none of its fields has a class.
    const stats = create(ContainerStatsSchema, { name: "x", cpu: { onlineCpus: 1 } });
    const found = [...privilegedFields(ContainerStatsSchema, stats)];
    expect(found).to.deep.equal(["name", "cpu.online_cpus"]);
  });

  it("find nothing in a request that uses what everybody may", () => {
    const found = inSpec({
      source: imageSource("i"),
      command: { arguments: ["sh"] },
      labels: { a: "b" },
      stopTimeout: { seconds: 1n },
      logConfig: { driver: "local" },
      resources: { memoryLimitBytes: 1n, cpusetCpus: [0, 1] },
      ulimits: [{ name: "nofile", soft: { limit: { case: "unlimited", value: {} } } }],
      networks: [{ network: "n", endpoint: {} }],
      networkConfig: { portMappings: [{ containerPort: 80, hostPort: 80 }] },
      mounts: [
        { target: "/a", source: { case: "volume", value: { createSpec: { driver: "local" } } } },
        {
          target: "/b",
          source: {
            case: "bind",
            value: {
              origin: { case: "bindRoot", value: { root: "r", path: "" } },
              propagation: MountPropagation.RPRIVATE,
            },
          },
        },
        { target: "/c", source: { case: "tmpfs", value: { options: ["noexec"] } } },
      ],
      security: {
        privileged: false,
        capabilitiesDrop: ["ALL"],
        capabilitiesAdd: ["NET_BIND_SERVICE", "CAP_CHOWN"],
        noNewPrivileges: true,
      },
      namespaces: {
        pid: { mode: { case: "isolated", value: {} } },
        ipc: { mode: { case: "isolated", value: { shareable: true } } },
        user: { mode: { case: "isolated", value: {} } },
        network: { mode: { case: "isolated", value: {} } },
      },
    });
    expect(found).to.deep.equal([]);
  });

  const empty = {};
  const bind = (value: object) => ({ target: "/t", source: { case: "bind" as const, value } });
  const rooted = { origin: { case: "bindRoot" as const, value: { root: "r" } } };
  const host = { case: "host" as const, value: empty };
  const other = { case: "container" as const, value: "c" };
  const file = { case: "path" as const, value: "/proc/1/ns/pid" };
  const cases: readonly [path: string, spec: SpecInit][] = [
    [
      "spec.root_filesystem.host_path",
      {
        source: {
          case: "rootFilesystem",
          value: { origin: { case: "hostPath", value: "/" }, copy: true },
        },
      },
    ],
    [
      "spec.template.variables",
      { source: { case: "template", value: { name: "t", variables: { a: "b" } } } },
    ],
    ["spec.copy.container", { source: { case: "copy", value: { container: "c" } } }],
    ["spec.annotations", { annotations: { a: "b" } }],
    ["spec.oom_score_adj", { oomScoreAdj: 0 }],
    ["spec.volumes_from", { volumesFrom: [{ container: "c" }] }],
    ["spec.storage_options", { storageOptions: { size: "1" } }],
    ["spec.devices", { devices: [{ hostPath: "/dev/x" }] }],
    ["spec.device_cgroup_rules", { deviceCgroupRules: [{ kind: DeviceKind.ALL }] }],
    ["spec.device_requests", { deviceRequests: [{}] }],
    ["spec.sysctls", { sysctls: { a: "b" } }],
    ["spec.cgroup_parent", { cgroupParent: "/" }],
    ["spec.runtime", { runtime: "r" }],
    ["spec.lxc_config", { lxcConfig: [{ key: "k" }] }],
    ["spec.log_config.driver", { logConfig: { driver: "syslog" } }],
    ["spec.log_config.options", { logConfig: { options: { a: "b" } } }],
    ["spec.resources.oom_kill_disabled", { resources: { oomKillDisabled: true } }],
    ["spec.resources.cpu_realtime_period_micros", { resources: { cpuRealtimePeriodMicros: 1n } }],
    ["spec.resources.cpu_realtime_runtime_micros", { resources: { cpuRealtimeRuntimeMicros: 1n } }],
    ["spec.ulimits[1].name", { ulimits: [{ name: "core" }, { name: "rtprio" }] }],
    ["spec.networks[0].network", { networks: [{ network: "host" }] }],
    [
      "spec.networks[0].endpoint.driver_options",
      { networks: [{ network: "n", endpoint: { driverOptions: { a: "b" } } }] },
    ],
    [
      "spec.mounts[0].bind.host_path",
      { mounts: [bind({ origin: { case: "hostPath", value: "/" } })] },
    ],
    [
      "spec.mounts[0].bind.propagation",
      { mounts: [bind({ ...rooted, propagation: MountPropagation.RSHARED })] },
    ],
    ["spec.mounts[0].bind.selinux_relabel", { mounts: [bind({ ...rooted, selinuxRelabel: 1 })] }],
    [
      "spec.mounts[0].volume.create_spec.driver",
      {
        mounts: [
          { target: "/t", source: { case: "volume", value: { createSpec: { driver: "nfs" } } } },
        ],
      },
    ],
    [
      "spec.mounts[0].tmpfs.options[1]",
      {
        mounts: [
          { target: "/t", source: { case: "tmpfs", value: { options: ["noexec", "bind"] } } },
        ],
      },
    ],
    ["spec.security.privileged", { security: { privileged: true } }],
    ["spec.security.capabilities_add[1]", { security: { capabilitiesAdd: ["KILL", "ALL"] } }],
    ["spec.security.no_new_privileges", { security: { noNewPrivileges: false } }],
    [
      "spec.security.seccomp_unconfined",
      { security: { seccomp: { case: "seccompUnconfined", value: empty } } },
    ],
    [
      "spec.security.seccomp_profile",
      { security: { seccomp: { case: "seccompProfile", value: empty } } },
    ],
    ["spec.security.apparmor_profile", { security: { apparmorProfile: "p" } }],
    [
      "spec.security.selinux_disabled",
      { security: { selinux: { case: "selinuxDisabled", value: empty } } },
    ],
    [
      "spec.security.selinux_label",
      { security: { selinux: { case: "selinuxLabel", value: empty } } },
    ],
    ["spec.security.masked_paths", { security: { maskedPaths: empty } }],
    ["spec.security.read_only_paths", { security: { readOnlyPaths: empty } }],
    ...(["pid", "ipc", "uts", "user", "cgroup", "network", "mount"] as const).flatMap((kind) =>
      [host, other, { case: "pod" as const, value: "p" }, file].map(
        (mode): [path: string, spec: SpecInit] => [
          `spec.namespaces.${kind}.${mode.case}`,
          { namespaces: { [kind]: { mode } } },
        ],
      ),
    ),
    [
      "spec.namespaces.user.isolated.uids",
      { namespaces: { user: { mode: { case: "isolated", value: { uids: [{ size: 1 }] } } } } },
    ],
  ];
  for (const [path, spec] of cases) {
    it(`find ${path}`, () =>
      expect(inSpec({ source: imageSource("i"), ...spec })).to.deep.equal([path]));
  }

  it("find what has power in other requests", () => {
    for (const [desc, init, paths] of [
      [CreateVolumeRequestSchema, { spec: { driver: "local" } }, []],
      [
        CreateVolumeRequestSchema,
        { spec: { driver: "nfs", driverOptions: { device: "/" } } },
        ["spec.driver", "spec.driver_options"],
      ],
      [CreateNetworkRequestSchema, { name: "n", spec: { driver: "bridge", internal: true } }, []],
      [
        CreateNetworkRequestSchema,
        {
          spec: {
            driver: "macvlan",
            driverOptions: { parent: "eth0" },
            ipam: { driver: "default", pools: [{ subnet: "10.0.0.0/8" }] },
            scope: ResourceScope.GLOBAL,
          },
        },
        ["spec.driver", "spec.driver_options", "spec.ipam.pools", "spec.scope"],
      ],
      [
        UpdateContainerRequestSchema,
        { container: "c", resources: { cpuRealtimeRuntimeMicros: 1n, cpuShares: 2n } },
        ["resources.cpu_realtime_runtime_micros"],
      ],
      [ExecContainerSyncRequestSchema, { exec: { privileged: true } }, ["exec.privileged"]],
      [ExecContainerSyncRequestSchema, { exec: { privileged: false, user: "root" } }, []],
      [
        BuildImageRequestSchema,
        { payload: { case: "open", value: { network: "host", tags: ["t"] } } },
        ["open.network"],
      ],
      [BuildImageRequestSchema, { payload: { case: "open", value: { network: "none" } } }, []],
    ] as const) {
      const request = create(desc as DescMessage, init as Record<string, unknown>);
      expect([...privilegedFields(desc, request)], JSON.stringify(paths)).to.deep.equal(paths);
    }
  });
});

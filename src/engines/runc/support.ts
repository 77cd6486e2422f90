/**
 * The features that this engine does not support. It honours few options of containers yet, so the table
 * lists those: every other field of a spec is rejected.
 */
import type { DescMessage } from "@bufbuild/protobuf";
import {
  BindMountSchema,
  ContainerSpecSchema,
  IsolatedNamespaceSchema,
  MountSchema,
  NamespaceSchema,
  NamespacesSchema,
  ResourcesSchema,
  SecuritySchema,
  UlimitValueSchema,
} from "../../../gen/nap/v1/container_spec_pb.js";
import { fieldName, supportOf } from "../../contract/unsupported.js";
import type { Unsupported, UnsupportedFeatures } from "../../contract/unsupported.js";

const notYet = "nap does not map this to runC yet";
const pullsNothing = {
  reason: "nap pulls no images for runC yet",
  alternative: "import or load the image",
};

/** The fields of each message that are honoured; the rest of it is refused. */
const honoured: readonly [desc: DescMessage, fields: string][] = [
  [
    ContainerSpecSchema,
    `image kind command entrypoint environment unset_environment working_dir user additional_groups hostname labels tty
     stop_signal stop_timeout auto_remove resources ulimits oom_score_adj shm_size_bytes
     mounts read_only_root_filesystem security namespaces sysctls`,
  ],
  [
    ResourcesSchema,
    `memory_limit_bytes swap_limit_bytes swap_unlimited memory_reservation_bytes
     memory_swappiness cpu_shares cpu_period_micros cpu_quota_micros cpuset_cpus
     cpuset_mems pids_limit_count pids_unlimited`,
  ],
  [MountSchema, "target read_only bind tmpfs"],
  [BindMountSchema, "host_path bind_root"],
  [SecuritySchema, "capabilities_add capabilities_drop no_new_privileges seccomp_unconfined"],
  [NamespacesSchema, "pid ipc uts user cgroup network mount"],
  [NamespaceSchema, "isolated host path"],
  [IsolatedNamespaceSchema, "without_shm"],
  // The kernel's "unlimited", 2^64-1, is no number of JavaScript's JSON.
  [UlimitValueSchema, "amount"],
];

/** Other fields that are refused, and why. */
const refusedFields: readonly [field: string, reason: Unsupported & { readonly value?: string }][] =
  [
    [
      "nap.v1.ContainerSpec.kind",
      { value: "INSTANCE_KIND_SYSTEM", reason: "nap gives it no init process" },
    ],
    [
      "nap.v1.ContainerSpec.kind",
      { value: "INSTANCE_KIND_VIRTUAL_MACHINE", reason: "runC runs no virtual machines" },
    ],
    ["nap.v1.CreateContainerRequest.pull_policy", { value: "PULL_POLICY_ALWAYS", ...pullsNothing }],
    ["nap.v1.RunContainerRequest.pull_policy", { value: "PULL_POLICY_ALWAYS", ...pullsNothing }],
    ["nap.v1.CreateContainerRequest.registry_credentials", { reason: notYet }],
    ["nap.v1.RunContainerRequest.registry_credentials", { reason: notYet }],
    ["nap.v1.GetContainerRequest.include_size", { reason: notYet }],
    // The root file system would have to be made over to the mapped ids.
    ["nap.v1.Namespaces.user.isolated", { reason: notYet }],
    ["nap.v1.Namespaces.user.path", { reason: notYet }],
    ["nap.v1.Namespaces.mount.host", { reason: "runC gives every container mounts of its own" }],
    ["nap.v1.Namespaces.mount.path", { reason: "runC gives every container mounts of its own" }],
    ["nap.v1.ContainerFilter.networks", { reason: "this engine has no networks yet" }],
    ["nap.v1.ContainerFilter.volumes", { reason: "this engine has no volumes yet" }],
    ["nap.v1.ContainerFilter.exposed_ports", { reason: "this engine has no networks yet" }],
    ["nap.v1.ContainerFilter.health_statuses", { reason: "this engine has no health checks yet" }],
    ["nap.v1.StreamContainerLogsRequest.cursor", { reason: notYet }],
    ["nap.v1.StreamContainerLogsRequest.follow_restarts", { reason: notYet }],
    [
      "nap.v1.WaitContainerRequest.condition",
      { value: "WAIT_CONDITION_HEALTHY", reason: "this engine has no health checks yet" },
    ],
    ["nap.v1.ExecSpec.tty", { reason: notYet }],
    ["nap.v1.ExecSpec.privileged", { reason: notYet }],
    [
      "nap.v1.ExecContainerSyncRequest.disconnect_action",
      { value: "DISCONNECT_ACTION_KILL", reason: "a command whose call is cancelled goes on" },
    ],
    ["nap.v1.ImportImageOpen.instructions", { reason: notYet }],
    ["nap.v1.ImportImageOpen.platform", { reason: notYet }],
    ["nap.v1.ImageFilter.before_image", { reason: notYet }],
    ["nap.v1.ImageFilter.since_image", { reason: notYet }],
    ["nap.v1.ImageFilter.include_intermediate", { reason: "there are none" }],
    ["nap.v1.RemoveImageRequest.keep_parents", { reason: "there are none" }],
  ];

/** The table, the same for every host. */
export function runcSupport(): UnsupportedFeatures {
  const rest = honoured.flatMap(([desc, names]) => {
    const known = new Set(names.trim().split(/\s+/));
    const refused = desc.fields.filter(({ name }) => !known.has(name));
    return refused.map((field) => ({ field: fieldName(field), reason: notYet }));
  });
  return supportOf([...refusedFields.map(([field, reason]) => ({ field, ...reason })), ...rest]);
}

/**
 * What this engine cannot do. It honours few of a container's options yet, so the table is made the
 * other way round: every field of a spec that is not named here is refused.
 */
import type { DescMessage } from "@bufbuild/protobuf";
import {
  BindMountSchema,
  ContainerNetworkSchema,
  ContainerSpecSchema,
  MountSchema,
  NamespacesSchema,
  PidNamespaceSchema,
  IpcNamespaceSchema,
  ResourcesSchema,
  SecuritySchema,
  UlimitValueSchema,
} from "../../../gen/nap/v1/container_spec_pb.js";
import { fieldName } from "../../contract/unsupported.js";
import type { Support, Unsupported } from "../../contract/unsupported.js";

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
     stop_signal stop_timeout auto_remove resources ulimits oom_score_adj shm_size_bytes network
     mounts read_only_root_filesystem security namespaces sysctls`,
  ],
  [
    ResourcesSchema,
    `memory_limit_bytes swap_limit_bytes swap_unlimited memory_reservation_bytes
     memory_swappiness cpu_shares cpu_period_micros cpu_quota_micros cpuset_cpus
     cpuset_mems pids_limit_count pids_unlimited`,
  ],
  [ContainerNetworkSchema, "none host"],
  [MountSchema, "target read_only bind tmpfs"],
  [BindMountSchema, "host_path bind_root"],
  [SecuritySchema, "capabilities_add capabilities_drop no_new_privileges seccomp_unconfined"],
  [NamespacesSchema, "pid ipc uts"],
  [PidNamespaceSchema, "host isolated"],
  [IpcNamespaceSchema, "host isolated"],
  // The kernel's "unlimited", 2^64-1, is no number of JavaScript's JSON.
  [UlimitValueSchema, "amount"],
];

/** Other fields that are refused, and why. */
const further: readonly [name: string, reason: Unsupported][] = [
  ["nap.v1.ContainerSpec.kind=INSTANCE_KIND_SYSTEM", { reason: "nap gives it no init process" }],
  [
    "nap.v1.ContainerSpec.kind=INSTANCE_KIND_VIRTUAL_MACHINE",
    { reason: "runC runs no virtual machines" },
  ],
  ["nap.v1.CreateContainerRequest.pull_policy=PULL_POLICY_ALWAYS", pullsNothing],
  ["nap.v1.RunContainerRequest.pull_policy=PULL_POLICY_ALWAYS", pullsNothing],
  ["nap.v1.CreateContainerRequest.registry_credentials", { reason: notYet }],
  ["nap.v1.RunContainerRequest.registry_credentials", { reason: notYet }],
  ["nap.v1.GetContainerRequest.include_size", { reason: notYet }],
  ["nap.v1.ContainerFilter.networks", { reason: "this engine has no networks yet" }],
  ["nap.v1.ContainerFilter.volumes", { reason: "this engine has no volumes yet" }],
  ["nap.v1.ContainerFilter.exposed_ports", { reason: "this engine has no networks yet" }],
  ["nap.v1.ContainerFilter.healths", { reason: "this engine has no health checks yet" }],
  ["nap.v1.StreamContainerLogsRequest.cursor", { reason: notYet }],
  ["nap.v1.StreamContainerLogsRequest.follow_restarts", { reason: notYet }],
  ["nap.v1.WAIT_CONDITION_HEALTHY", { reason: "this engine has no health checks yet" }],
  ["nap.v1.ExecSpec.tty", { reason: notYet }],
  ["nap.v1.ExecSpec.privileged", { reason: notYet }],
  [
    "nap.v1.ExecContainerSyncRequest.disconnect_action=DISCONNECT_ACTION_KILL",
    { reason: "a command whose call is cancelled goes on" },
  ],
  ["nap.v1.ImportImageOpen.instructions", { reason: notYet }],
  ["nap.v1.ImportImageOpen.platform", { reason: notYet }],
  ["nap.v1.ImageFilter.before_image", { reason: notYet }],
  ["nap.v1.ImageFilter.since_image", { reason: notYet }],
  ["nap.v1.ListImagesRequest.include_intermediate", { reason: "there are none" }],
  ["nap.v1.RemoveImageRequest.keep_parents", { reason: "there are none" }],
];

/** The table, the same for every host. */
export function runcSupport(): Support {
  const table = new Map<string, Unsupported>(further);
  for (const [desc, names] of honoured) {
    const known = new Set(names.trim().split(/\s+/));
    for (const field of desc.fields) {
      if (!known.has(field.name)) table.set(fieldName(field), { reason: notYet });
    }
  }
  return table;
}

/** The features that Docker does not support, by the API version and the host of one connection. */
import type { DescMessage } from "@bufbuild/protobuf";
import { PruneContainersRequestSchema } from "../../../gen/nap/v1/container_service_pb.js";
import { PruneImagesRequestSchema } from "../../../gen/nap/v1/image_service_pb.js";
import { PruneNetworksRequestSchema } from "../../../gen/nap/v1/network_service_pb.js";
import { PruneVolumesRequestSchema } from "../../../gen/nap/v1/volume_service_pb.js";
import type {
  UnsupportedFeatures,
  Unsupported,
  UnsupportedEntry,
} from "../../contract/unsupported.js";
import { supportOf } from "../../contract/unsupported.js";
import { isAtLeast } from "../docker-http/api-version.js";
import type { InfoJson } from "../docker-http/json.js";

const ofHostAlone = { reason: "Docker shares this kind of namespace with the host alone" };
const alwaysOwn = { reason: "Docker gives every container mounts of its own" };

/** The features that no version of Docker supports. */
const never: readonly [field: string, reason: Unsupported][] = [
  ["nap.v1.ContainerSpec.lxc_config", { reason: "Docker does not run on LXC" }],
  ...["root_filesystem", "template", "copy"].map((source): [field: string, reason: Unsupported] => [
    `nap.v1.ContainerSpec.${source}`,
    { reason: "Docker makes containers from images alone", alternative: "import it as an image" },
  ]),
  ["nap.v1.Namespace.pod", { reason: "Docker has no pods" }],
  [
    "nap.v1.Namespace.path",
    { reason: "Docker does not put a container into a namespace by its file" },
  ],
  ["nap.v1.Namespaces.uts.container", ofHostAlone],
  ["nap.v1.Namespaces.user.container", ofHostAlone],
  ["nap.v1.Namespaces.cgroup.container", ofHostAlone],
  ["nap.v1.Namespaces.mount.container", alwaysOwn],
  ["nap.v1.Namespaces.mount.host", alwaysOwn],
  [
    "nap.v1.NetworkSpec.ingress",
    { reason: "nap does not make Docker a swarm, which alone has such a network" },
  ],
  [
    // Measured: dockerd 20.10 takes it, runc 1.1 does nothing with it; API 1.42 has it no more.
    "nap.v1.Resources.kernel_memory_limit_bytes",
    {
      reason: "Docker's runtime ignores limits of kernel memory",
      alternative: "memory_limit_bytes counts kernel memory too",
    },
  ],
  [
    // Measured: /info says KernelMemoryTCP, dockerd 20.10 takes it, and the cgroup has no limit.
    "nap.v1.Resources.kernel_memory_tcp_limit_bytes",
    { reason: "Docker's runtime ignores limits of TCP buffers" },
  ],
  // dockerd takes these in an update and does nothing with them.
  ...[
    "memory_swappiness",
    "oom_kill_disabled",
    "block_io.device_weights",
    "block_io.read_bytes_per_second",
    "block_io.write_bytes_per_second",
    "block_io.reads_per_second",
    "block_io.writes_per_second",
  ].map((name): [field: string, reason: Unsupported] => [
    `nap.v1.UpdateContainerRequest.resources.${name}`,
    { reason: "Docker does not change it after the creation" },
  ]),
];

/**
 * The features that nap implements itself on the command's process, if it runs as root on dockerd's host.
 */
const onOtherHosts: readonly [field: string, value?: string][] = [
  ["nap.v1.ExecContainerRequest.signal"],
  ["nap.v1.ExecContainerSyncRequest.disconnect_action", "DISCONNECT_ACTION_KILL"],
  ["nap.v1.ExecOpen.disconnect_action", "DISCONNECT_ACTION_KILL"],
];

/** Fields and values by the version of the API that brought them: an older one drops them unseen. */
const since: readonly [field: string, apiVersion: string, value?: string][] = [
  ["nap.v1.StopContainerRequest.stop_signal", "1.42"],
  ["nap.v1.RestartContainerRequest.stop_signal", "1.42"],
  ["nap.v1.ContainerSpec.annotations", "1.43"],
  ["nap.v1.BindMount.recursive_read_only", "1.44", "RECURSIVE_READ_ONLY_REQUIRED"],
  ["nap.v1.HealthCheck.start_interval", "1.44"],
  ["nap.v1.VolumeMount.subpath", "1.45"],
  ["nap.v1.PushImageRequest.platform", "1.46"],
  ["nap.v1.EndpointSettings.gateway_priority", "1.48"],
  ["nap.v1.Mount.image", "1.48"],
  ["nap.v1.NetworkSpec.enable_ipv4", "1.48"],
  ["nap.v1.SaveImagesRequest.platform", "1.48"],
  // Measured on 20.10, and said so of all until API 1.54: it is taken and ignored here.
  ["nap.v1.ConnectContainerRequest.endpoint.mac_address", "1.54"],
];

const pruned = "created_before labels excluded_labels";

/** The fields of the filter by which dockerd prunes; by the others of the filter it lists alone. */
const prunes: readonly [request: DescMessage, fields: string][] = [
  [PruneContainersRequestSchema, pruned],
  [PruneImagesRequestSchema, pruned],
  [PruneNetworksRequestSchema, pruned],
  [PruneVolumesRequestSchema, "labels excluded_labels"],
];

/** The properties of dockerd's host on which its features depend. A missing one counts as true. */
export type HostFacts = Pick<
  InfoJson,
  "CgroupVersion" | "MemoryLimit" | "SwapLimit" | "PidsLimit" | "SecurityOptions"
> &
  Partial<InfoJson>;

/** Limits by what dockerd says of its kernel. */
const limits: readonly [fact: keyof HostFacts, what: string, ...fields: string[]][] = [
  ["MemoryLimit", "memory limits", "memory_limit_bytes", "memory_reservation_bytes"],
  ["SwapLimit", "swap limits", "swap_limit_bytes", "swap_unlimited"],
  ["PidsLimit", "process limits", "pids_limit_count", "pids_unlimited"],
  ["CPUShares", "shares of processor time", "cpu_shares"],
  ["CpuCfsQuota", "quotas of processor time", "cpu_quota_micros"],
  ["CpuCfsPeriod", "quotas of processor time", "cpu_period_micros"],
  ["CPUSet", "sets of processors", "cpuset_cpus", "cpuset_mems"],
  ["OomKillDisable", "way to put off the killing", "oom_kill_disabled"],
];

/** Limits of block devices by the words of a warning of /info, which alone tells of them. */
const blockIo: readonly [words: RegExp, field: string][] = [
  [/^WARNING: No io\.weight support/, "weight"],
  [/^WARNING: No io\.weight \(per device\) support/, "device_weights"],
  [/^WARNING: No (io\.max \(rbps\)|blkio throttle\.read_bps)/, "read_bytes_per_second"],
  [/^WARNING: No (io\.max \(wbps\)|blkio throttle\.write_bps)/, "write_bytes_per_second"],
  [/^WARNING: No (io\.max \(riops\)|blkio throttle\.read_iops)/, "reads_per_second"],
  [/^WARNING: No (io\.max \(wiops\)|blkio throttle\.write_iops)/, "writes_per_second"],
];

/** The parts of an engine's host that nap can access itself. */
export interface HostAccess {
  /** The engine's file system is nap's own: it is reached by a socket of this host. */
  readonly files: boolean;
  /** nap can see the engine's processes, and is root. */
  readonly processes: boolean;
}

/** The table for a connection: `apiVersion` is what is spoken, `info` what dockerd says of its host. */
export function dockerSupport(
  apiVersion: string,
  info: HostFacts,
  near: HostAccess,
): UnsupportedFeatures {
  return supportOf(entries(apiVersion, info, near));
}

function* entries(
  apiVersion: string,
  info: HostFacts,
  near: HostAccess,
): Generator<UnsupportedEntry> {
  for (const [field, reason] of never) yield { field, ...reason };
  for (const value of ["INSTANCE_KIND_SYSTEM", "INSTANCE_KIND_VIRTUAL_MACHINE"]) {
    const reason = "Docker runs containers of one command alone";
    yield { field: "nap.v1.ContainerSpec.kind", value, reason };
  }
  for (const [field, needed, value] of since) {
    if (isAtLeast(apiVersion, needed)) continue;
    const reason = `needs Docker API ${needed}, this one speaks ${apiVersion}`;
    yield { field, reason, ...(value && { value }) };
  }
  for (const [request, honoured] of prunes) {
    const known = new Set(honoured.split(" "));
    for (const { name } of request.field["filter"]?.message?.fields ?? []) {
      if (known.has(name)) continue;
      yield {
        field: `${request.typeName}.filter.${name}`,
        reason: "Docker does not prune by it",
        alternative: "list what it selects, and remove each",
      };
    }
  }
  if (!near.files) {
    yield {
      field: "nap.v1.BindMount.bind_root",
      reason: "nap reaches this engine by TCP, and can check the paths of its own host alone",
      alternative: "run a nap on the engine's host, which reaches it by its unix socket",
    };
  }
  for (const [field, value] of near.processes ? [] : onOtherHosts) {
    yield {
      field,
      ...(value && { value }),
      reason: "Docker cannot signal a command; nap does where it runs on the engine's host as root",
      alternative: "run nap on the engine's host",
    };
  }
  const gaps = [...cgroupGaps(info), ...userNamespaceGaps(info), ...confinementGaps(info)];
  for (const [name, reason] of gaps) {
    yield { field: `nap.v1.${name}`, reason };
  }
  const storage = storageGap(info);
  if (storage !== undefined)
    yield { field: "nap.v1.ContainerSpec.storage_options", reason: storage };
}

function* cgroupGaps(info: HostFacts): Generator<[name: string, reason: string]> {
  for (const [fact, what, ...fields] of limits) {
    if (info[fact] !== false) continue;
    for (const field of fields) yield [`Resources.${field}`, `the host's kernel has no ${what}`];
  }
  for (const [words, field] of blockIo) {
    const warned = info.Warnings?.some((warning) => words.test(warning));
    if (warned) yield [`BlockIo.${field}`, "the host's kernel does not limit block devices so"];
  }
  if (info.CgroupVersion === "2") {
    const reason = "control groups of version 2 do not have it";
    yield ["Resources.memory_swappiness", reason];
    yield ["Resources.oom_kill_disabled", reason];
  }
}

/** With `userns-remap` in its configuration, dockerd gives every container a user namespace. */
function* userNamespaceGaps({ SecurityOptions }: HostFacts): Generator<[string, string]> {
  if (SecurityOptions?.some((option) => option.split(",")[0] === "name=userns") === true) {
    const reason = "Docker maps the ids of all containers alike, by its daemon's configuration";
    yield ["Namespaces.user.isolated.uids", reason];
    yield ["Namespaces.user.isolated.gids", reason];
  } else {
    const reason = "Docker gives user namespaces to all containers or to none, by its daemon";
    yield ["Namespaces.user.isolated", reason];
  }
}

function* confinementGaps(info: HostFacts): Generator<[name: string, reason: string]> {
  const has = (name: string): boolean =>
    info.SecurityOptions?.some((option) => option.split(",")[0] === `name=${name}`) === true;
  if (!has("apparmor")) {
    const reason = "the host has no AppArmor, and Docker would not confine the container";
    yield ["Security.apparmor_profile", reason];
  }
  if (!has("selinux")) {
    const reason = "the host has no SELinux, or its Docker does not use it";
    yield ["Security.selinux_disabled", reason];
    yield ["Security.selinux_label", reason];
    yield ["BindMount.selinux_relabel", reason];
  }
}

/** The storage drivers that take options of a container; overlay2 does so on one file system. */
const sizedDrivers = new Set(["btrfs", "devicemapper", "windowsfilter", "zfs"]);

function storageGap({ Driver, DriverStatus }: HostFacts): string | undefined {
  if (Driver === undefined || sizedDrivers.has(Driver)) return undefined;
  const backing = DriverStatus?.find(([name]) => name === "Backing Filesystem")?.[1];
  if (Driver === "overlay2" && backing === "xfs") return undefined;
  return Driver === "overlay2"
    ? `the storage driver overlay2 takes options on xfs alone, and this is ${backing ?? "not"}`
    : `the storage driver ${Driver} takes no options of a container`;
}

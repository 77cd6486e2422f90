/** What Docker cannot do, for the API version and the host of one connection. */
import type { Support, Unsupported } from "../../engine/support.js";
import type { InfoJson } from "./json.js";

const notYet = "nap does not map this to Docker yet";

/** Fields that nap does not map yet, whatever the daemon could do. */
const unmapped = [
  "nap.v1.BindMount.recursive_read_only",
  "nap.v1.BindMount.selinux_relabel",
  "nap.v1.ContainerSpec.annotations",
  "nap.v1.ContainerSpec.device_requests",
  "nap.v1.ContainerSpec.storage_options",
  "nap.v1.EndpointSettings.gateway_priority",
  "nap.v1.HealthProbe.start_interval",
  "nap.v1.ImageMount.image",
  "nap.v1.Mount.image",
  "nap.v1.NetworkSpec.enable_ipv4",
  "nap.v1.BlockIo.device_weights",
  "nap.v1.BlockIo.weight",
  "nap.v1.Resources.kernel_memory_limit_bytes",
  "nap.v1.Resources.kernel_memory_tcp_limit_bytes",
  "nap.v1.Security.selinux_disabled",
  "nap.v1.Security.selinux_label",
  "nap.v1.StreamContainerLogsRequest.cursor",
  "nap.v1.StreamContainerLogsRequest.follow_restarts",
  "nap.v1.StreamEventsRequest.cursor",
  "nap.v1.VolumeMount.subpath",
  "nap.v1.WAIT_CONDITION_HEALTHY",
];

/** What Docker cannot do in any version. */
const never: readonly [name: string, reason: Unsupported][] = [
  [
    "nap.v1.ContainerSpec.lxc_config",
    { reason: "Docker does not run on LXC", alternative: "use an engine of the driver lxc" },
  ],
  [
    "nap.v1.ExecContainerSyncRequest.on_disconnect=DISCONNECT_ACTION_KILL",
    { reason: "Docker cannot end a command once it runs; it goes on" },
  ],
  [
    "nap.v1.Namespaces.user=NAMESPACE_MODE_PRIVATE",
    { reason: "Docker gives user namespaces to all containers or to none, by its daemon" },
  ],
  [
    "nap.v1.NetworkSpec.ingress",
    { reason: "nap does not make Docker a swarm, which alone has such a network" },
  ],
];

/** Fields by the version of the API that brought them. */
const since: readonly [name: string, apiVersion: string][] = [
  ["nap.v1.StopContainerRequest.stop_signal", "1.42"],
  ["nap.v1.RestartContainerRequest.stop_signal", "1.42"],
  ["nap.v1.PushImageRequest.platform", "1.46"],
  ["nap.v1.SaveImagesRequest.platform", "1.48"],
];

/** What dockerd says of its host that decides what it can do. */
type HostFacts = Pick<
  InfoJson,
  "CgroupVersion" | "MemoryLimit" | "SwapLimit" | "PidsLimit" | "SecurityOptions"
>;

/**
 * The table for a connection: `apiVersion` is what is spoken, `info` what dockerd says of its host,
 * and `sameHost` whether that is nap's own.
 */
export function dockerSupport(apiVersion: string, info: HostFacts, sameHost: boolean): Support {
  const table = new Map<string, Unsupported>(never);
  for (const name of unmapped) table.set(name, { reason: notYet });
  for (const [name, needed] of since) {
    if (minor(apiVersion) < minor(needed)) {
      table.set(name, { reason: `needs Docker API ${needed}, this one speaks ${apiVersion}` });
    }
  }
  if (!sameHost) {
    table.set("nap.v1.BindMount.rooted", {
      reason: "nap reaches this engine by TCP, and can check the paths of its own host alone",
      alternative: "run a nap on the engine's host, which reaches it by its unix socket",
    });
  }
  if (info.CgroupVersion === "2") {
    const reason = "control groups of version 2 do not have it";
    table.set("nap.v1.Resources.memory_swappiness", { reason });
    table.set("nap.v1.Resources.oom_kill_disabled", { reason });
  }
  if (!info.SecurityOptions?.some((option) => option.startsWith("name=apparmor"))) {
    const reason = "the host has no AppArmor, and Docker would not confine the container";
    table.set("nap.v1.Security.apparmor_profile", { reason });
  }
  if (!info.MemoryLimit) {
    limitless(table, "memory", "memory_limit_bytes", "memory_reservation_bytes");
    const reason = "the host's kernel has no memory limits";
    table.set("nap.v1.BuildImageOpen.memory_limit_bytes", { reason });
  }
  if (!info.SwapLimit) limitless(table, "swap", "swap_limit_bytes", "swap_unlimited");
  if (!info.PidsLimit) limitless(table, "process", "pids_limit_count", "pids_unlimited");
  return table;
}

function limitless(table: Map<string, Unsupported>, what: string, ...fields: string[]): void {
  for (const field of fields) {
    table.set(`nap.v1.Resources.${field}`, { reason: `the host's kernel has no ${what} limits` });
  }
}

function minor(apiVersion: string): number {
  return Number(apiVersion.split(".")[1]);
}

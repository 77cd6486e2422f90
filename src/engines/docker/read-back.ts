/** Detects fields that dockerd did not apply, by its warnings and by reading the object back. */
import { posix } from "node:path";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import type { ArgumentList } from "../../../gen/nap/v1/types_pb.js";
import {
  InstanceKind,
  RecursiveReadOnly,
  RestartMode,
} from "../../../gen/nap/v1/container_spec_pb.js";
import { maxReportedViolations, NapError, violationsText } from "../../contract/errors.js";
import type { Difference, Equivalences } from "../../contract/not-applied.js";
import { lostFields } from "../../contract/not-applied.js";

/**
 * Warnings of dockerd about options that it did not apply, and the fields of a spec that they concern, as
 * dockerd 20.10.24 and 28.0 write them.
 */
const discarded: readonly [words: RegExp, ...fields: string[]][] = [
  [/memory limit capabilities/, "resources.memory_limit_bytes"],
  [/Memory limited without swap/, "resources.swap_limit_bytes"],
  [/Memory swappiness discarded/, "resources.memory_swappiness"],
  [/memory soft limit/, "resources.memory_reservation_bytes"],
  [/kernel memory limit.*discarded/, "resources.kernel_memory_limit_bytes"],
  [/OomKillDisable discarded/, "resources.oom_kill_disabled"],
  [/PIDs limit discarded/, "resources.pids_limit_count"],
  [/Shares discarded/, "resources.cpu_shares"],
  [/CPU period\/quota discarded/, "resources.cpu_period_micros", "resources.cpu_quota_micros"],
  [/Cpuset discarded/, "resources.cpuset_cpus", "resources.cpuset_mems"],
  [/\. Weight discarded/, "resources.block_io.weight"],
  [/Weight-device discarded/, "resources.block_io.device_weights"],
  [/BPS read limit discarded/, "resources.block_io.read_bytes_per_second"],
  [/BPS write limit discarded/, "resources.block_io.write_bytes_per_second"],
  [/IOPS read limit discarded/, "resources.block_io.reads_per_second"],
  [/IOPS write limit discarded/, "resources.block_io.writes_per_second"],
  [/Published ports are discarded/, "network_config.port_mappings"],
  [/Cgroup namespace setting discarded/, "namespaces.cgroup"],
];

/** The fields that dockerd says it dropped, each below `root`. What the table lacks is said of `root`. */
function warnedOf(warnings: readonly string[], root: string): [field: string, words: string][] {
  return warnings.flatMap((warning): [string, string][] => {
    const [, ...fields] = discarded.find(([words]) => words.test(warning)) ?? [];
    if (fields.length === 0) return /discarded/i.test(warning) ? [[root, warning]] : [];
    const prefix = root === "" ? "" : `${root}.`;
    return fields.map((field) => [`${prefix}${field}`, warning]);
  });
}

/** A requested spec and the one that dockerd reports. */
interface AppliedSpec {
  /** The object, as an error names it. */
  readonly resource: string;
  readonly warnings: readonly string[];
  /** The path of the spec in the request, or empty for the parts of an update. */
  readonly root: string;
  readonly parts: readonly {
    readonly path: string;
    readonly desc: DescMessage;
    readonly wanted: Message | undefined;
    readonly got: Message | undefined;
  }[];
}

/** Fails with FIELD_NOT_APPLIED if dockerd did not apply a part of the request. */
export function assertNoneDropped({ resource, warnings, root, parts }: AppliedSpec): void {
  const found = new Map<string, string>(warnedOf(warnings, root));
  for (const { path, desc, wanted, got } of parts) {
    if (wanted === undefined) continue;
    for (const field of lostFields(desc, wanted, got, equivalences, path)) {
      // A warning has the reason, and may concern the field as a whole.
      const isCovered = [...found.keys()].some((other) => field.startsWith(other));
      if (!isCovered) found.set(field, "Docker took it and does not report it back");
      if (found.size > maxReportedViolations) break;
    }
  }
  if (found.size === 0) return;
  const reason = "FIELD_NOT_APPLIED";
  const violations = [...found].map(
    ([field, description]) => ({ field, description, reason }) as const,
  );
  throw new NapError(reason, violationsText(violations), { resource, violations });
}

/** Fields whose zero is not what dockerd has where they are unset. */
const zeroMatters = new Set([
  "nap.v1.ContainerSpec.init",
  "nap.v1.ContainerSpec.stop_timeout",
  "nap.v1.NetworkSpec.enable_ipv4",
  "nap.v1.Resources.memory_swappiness",
  "nap.v1.Resources.swap_limit_bytes",
  "nap.v1.Security.no_new_privileges",
  "nap.v1.TmpfsMount.permissions",
  "nap.v1.VolumeMount.copy_image_content",
  "nap.v1.VolumesFrom.read_only",
]);

/** Texts that dockerd takes for unset where they are empty, and reports its own or the image's. */
const emptyIsUnset = new Set([
  "nap.v1.ContainerSpec.hostname",
  "nap.v1.ContainerSpec.runtime",
  "nap.v1.ContainerSpec.stop_signal",
  "nap.v1.ContainerSpec.user",
  "nap.v1.ContainerSpec.working_dir",
  "nap.v1.LogConfig.driver",
  "nap.v1.VolumeSpec.driver",
]);

/** Messages that say something also where no field of them is set. */
const saysSomething = new Set(["nap.v1.ArgumentList", "nap.v1.PathList"]);

/** Values that dockerd has as if they were unset, for they are its default, by a key of their field. */
const defaults: readonly [key: string, isDefault: (wanted: unknown) => boolean][] = [
  ["nap.v1.RestartPolicy.mode", (mode) => mode === RestartMode.NO],
  ["nap.v1.ContainerSpec.kind", (kind) => kind === InstanceKind.CONTAINER],
  ["nap.v1.Namespaces.pid.isolated", () => true],
  ["nap.v1.Namespaces.uts.isolated", () => true],
  ["nap.v1.Namespaces.user.isolated", () => true],
  ["nap.v1.Namespaces.mount.isolated", () => true],
  ["nap.v1.Resources.pids_unlimited", () => true],
  ["nap.v1.VolumeMount.copy_image_content", (copied) => copied === true],
  ["nap.v1.NetworkSpec.enable_ipv4", (enabled) => enabled === true],
  // Until API 1.44 all are so.
  ["nap.v1.BindMount.recursive_read_only", (value) => value === RecursiveReadOnly.DISABLED],
  // dockerd adds it by itself where a container shares the host's, hence it is not read there.
  ["nap.v1.Security.selinux_disabled", () => true],
  ["nap.v1.ContainerSpec.command", isReset],
  ["nap.v1.ContainerSpec.entrypoint", isReset],
];

function isReset(list: unknown): boolean {
  return (list as ArgumentList).arguments.length === 0;
}

/** Names that dockerd replaces by the id or the name of the same container. */
const containers = new Set(["nap.v1.ContainerLink.container", "nap.v1.Namespace.container"]);

/** The canonical forms of values that can be written in several ways. */
const canonical: Readonly<Record<string, (value: string) => string>> = {
  "nap.v1.ContainerSpec.working_dir": path,
  "nap.v1.Mount.target": path,
  "nap.v1.BindMount.host_path": path,
  "nap.v1.DeviceMapping.host_path": path,
  "nap.v1.DeviceMapping.container_path": path,
  "nap.v1.EndpointSettings.mac_address": (address) => address.toLowerCase(),
  "nap.v1.EndpointSettings.ipv6_address": address,
  "nap.v1.EndpointSettings.link_local_addresses": address,
  "nap.v1.PortMapping.host_address": address,
  "nap.v1.HostAlias.address": address,
  "nap.v1.NetworkConfig.dns_servers": address,
  "nap.v1.AddressPool.gateway": address,
  "nap.v1.AddressPool.auxiliary_addresses": address,
  "nap.v1.AddressPool.subnet": subnet,
  "nap.v1.AddressPool.ip_range": subnet,
  "nap.v1.Security.capabilities_add": capability,
  "nap.v1.Security.capabilities_drop": capability,
};

function path(text: string): string {
  return posix.normalize(`${text}/`);
}

function address(text: string): string {
  if (!text.includes(":") || !URL.canParse(`http://[${text}]`)) return text;
  return new URL(`http://[${text}]`).hostname;
}

function subnet(text: string): string {
  const [ip = "", length = ""] = text.split("/");
  return `${address(ip)}/${length}`;
}

function capability(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, "");
}

function isSame({ name, keys, wanted, got, chosen }: Difference): boolean {
  if (got === undefined) {
    if (!chosen && isZero(wanted) && !zeroMatters.has(name)) return true;
    return defaults.some(([key, isDefault]) => keys.includes(key) && isDefault(wanted));
  }
  if (typeof wanted !== "string" || typeof got !== "string") return false;
  if (containers.has(name) || (wanted === "" && emptyIsUnset.has(name))) return true;
  const write = canonical[name];
  return write !== undefined && write(wanted) === write(got);
}

function isZero(value: unknown): boolean {
  if (typeof value !== "object" || value === null)
    return [false, 0, 0n, ""].includes(value as never);
  const message = value as Message;
  if (message.$typeName === "google.protobuf.Duration") {
    const { seconds, nanos } = message as Duration;
    return seconds === 0n && nanos === 0;
  }
  return !message.$typeName.startsWith("google.protobuf.") && !saysSomething.has(message.$typeName);
}

const equivalences: Equivalences = {
  isSame,
  whole: new Set(["nap.v1.DevicePermissions"]),
  ordered: new Set(["nap.v1.ArgumentList.arguments"]),
  sets: new Set(["nap.v1.NetworkConfig.exposed_ports"]),
};

/** The paths of what is set in `wanted` and lost in `got`, dockerd's ways of writing considered. */
export function lostInDocker(desc: DescMessage, wanted: Message, got: Message): string[] {
  return lostFields(desc, wanted, got, equivalences);
}

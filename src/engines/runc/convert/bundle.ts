/** Converts what a container is created with to an OCI runtime configuration (1.0). */
import type {
  ContainerSpec,
  Mount,
  Namespace,
  Resources,
} from "../../../../gen/nap/v1/container_spec_pb.js";
import type { ImageConfig } from "../../../../gen/nap/v1/image_service_pb.js";
import { environmentList } from "../../../lib/env-vars.js";
import type { ContainerPaths } from "../runtime/store.js";

/** The identity that a command runs under, resolved from the image's own files. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
}

/** The inputs of a bundle. */
export interface BundleSource {
  readonly id: string;
  readonly spec: ContainerSpec;
  readonly image: ImageConfig;
  readonly identity: Identity;
  readonly paths: ContainerPaths;
  /** The control group below which the container's own is made. */
  readonly cgroupParent: string;
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The capabilities that Docker gives, too. */
const defaultCapabilities =
  `CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE
   SYS_CHROOT KILL AUDIT_WRITE`.split(/\s+/);

/** All that Linux has since 5.9; runc leaves out those that an older kernel does not know. */
const allCapabilities = [
  ...defaultCapabilities,
  ...`DAC_READ_SEARCH LINUX_IMMUTABLE NET_BROADCAST NET_ADMIN IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
   SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG LEASE
   AUDIT_CONTROL MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
   CHECKPOINT_RESTORE`.split(/\s+/),
];

/** Devices that every container may use: zero, null, urandom, random, tty, console. */
const defaultDevices = [
  [1, 5],
  [1, 3],
  [1, 9],
  [1, 8],
  [5, 0],
  [5, 1],
].map(([major, minor]) => ({ allow: true, type: "c", major, minor, access: "rwm" }));

const maskedPaths =
  `/proc/asound /proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list
   /proc/timer_stats /proc/sched_debug /proc/scsi /sys/firmware
   /sys/devices/virtual/powercap`.split(/\s+/);
const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** The whole command: what is unset is the image's; a given entrypoint drops the image's command. */
export function commandLine({ spec, image }: Pick<BundleSource, "spec" | "image">): string[] {
  const entrypoint = spec.entrypoint ?? image.entrypoint;
  const command = spec.command ?? (spec.entrypoint === undefined ? image.command : undefined);
  return [...(entrypoint?.arguments ?? []), ...(command?.arguments ?? [])];
}

/** The environment of the first process and of commands run beside it. */
export function environmentOf({ spec, image }: Pick<BundleSource, "spec" | "image">, id: string) {
  const hostname = spec.hostname ?? id.slice(0, 12);
  const all: Record<string, string> = {
    PATH: searchPath,
    HOSTNAME: hostname,
    ...(spec.tty === true && { TERM: "xterm" }),
    ...image.environment,
    ...spec.environment,
  };
  for (const name of spec.unsetEnvironment) delete all[name];
  return environmentList(all);
}

const plain = (name: string): string => name.replace(/^CAP_/i, "").toUpperCase();

/** The paths of capabilities that Linux does not have; runc would ignore them. */
export function unknownCapabilities({ security }: ContainerSpec): string[] {
  const known = new Set(["ALL", ...allCapabilities]);
  const among = (field: string, names: readonly string[] = []): string[] =>
    names.flatMap((name, at) => (known.has(plain(name)) ? [] : `spec.security.${field}[${at}]`));
  return [
    ...among("capabilities_add", security?.capabilitiesAdd),
    ...among("capabilities_drop", security?.capabilitiesDrop),
  ];
}

/** The capabilities of the first process. */
export function capabilitiesOf({ security }: ContainerSpec): string[] {
  const dropped = new Set(security?.capabilitiesDrop.map(plain));
  const added = security?.capabilitiesAdd.map(plain) ?? [];
  if (added.includes("ALL")) {
    return allCapabilities.filter((name) => !dropped.has(name)).map((name) => `CAP_${name}`);
  }
  const kept = dropped.has("ALL") ? [] : defaultCapabilities;
  const all = new Set([...kept.filter((name) => !dropped.has(name)), ...added]);
  return [...all].map((name) => `CAP_${name}`);
}

/** The configuration as runc reads it. */
export function bundleConfig(source: BundleSource): object {
  const { id, spec, identity, paths, cgroupParent } = source;
  const capabilities = capabilitiesOf(spec);
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: spec.tty === true,
      user: { uid: identity.uid, gid: identity.gid, additionalGids: identity.additionalGids },
      args: commandLine(source),
      env: environmentOf(source, id),
      cwd: spec.workingDir ?? (source.image.workingDir || "/"),
      capabilities: {
        bounding: capabilities,
        // As Docker does, since a user other than root gets none of them by being started.
        ...(identity.uid === 0 && { effective: capabilities, permitted: capabilities }),
      },
      noNewPrivileges: spec.security?.noNewPrivileges === true,
      oomScoreAdj: spec.oomScoreAdj ?? 0,
      rlimits: spec.ulimits.map(({ name, soft, hard }) => ({
        type: `RLIMIT_${name.toUpperCase()}`,
        soft: ulimit(soft),
        hard: ulimit(hard ?? soft),
      })),
    },
    root: { path: paths.rootfs, readonly: spec.readOnlyRootFilesystem === true },
    // In a namespace that others have, too, runc would rename it for all of them.
    ...((spec.namespaces?.uts?.mode.case ?? "isolated") === "isolated" && {
      hostname: spec.hostname ?? id.slice(0, 12),
    }),
    mounts: [...systemMounts(spec, paths), ...spec.mounts.map(mountOf)],
    linux: {
      cgroupsPath: `${cgroupParent}/${id}`,
      sysctl: spec.sysctls,
      resources: {
        devices: [{ allow: false, access: "rwm" }, ...defaultDevices],
        ...resourcesOf(spec.resources),
      },
      namespaces: [
        { type: "mount" },
        ...namespaceOf("network", spec.namespaces?.network),
        ...namespaceOf("uts", spec.namespaces?.uts),
        ...namespaceOf("pid", spec.namespaces?.pid),
        ...namespaceOf("ipc", spec.namespaces?.ipc),
        // Without one, a container sees the host's control groups, as it always did here.
        ...(spec.namespaces?.cgroup ? namespaceOf("cgroup", spec.namespaces.cgroup) : []),
      ],
      maskedPaths,
      readonlyPaths,
    },
  };
}

/** A namespace as runc takes it: what is not in its list is the host's. Default: isolated. */
function namespaceOf(type: string, namespace?: Namespace): object[] {
  const { mode } = namespace ?? { mode: { case: "isolated" } as const };
  if (mode.case === "host") return [];
  return [mode.case === "path" ? { type, path: mode.value } : { type }];
}

function ulimit(value: ContainerSpec["ulimits"][number]["soft"]): number {
  if (value?.limit.case === "amount") return Number(value.limit.value);
  throw new RangeError("an unlimited ulimit passed the support check");
}

function systemMounts(
  { shmSizeBytes, namespaces }: ContainerSpec,
  { directory }: ContainerPaths,
): object[] {
  const quiet = ["nosuid", "noexec", "nodev"];
  const ipc = namespaces?.ipc?.mode;
  const mount = (destination: string, type: string, source: string, options: string[]): object => ({
    destination,
    type,
    source,
    options,
  });
  const pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
  const shm = [...quiet, "mode=1777", `size=${shmSizeBytes ?? 67_108_864n}`];
  return [
    mount("/proc", "proc", "proc", quiet),
    mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    mount("/dev/pts", "devpts", "devpts", pts),
    mount("/sys", "sysfs", "sysfs", [...quiet, "ro"]),
    mount("/sys/fs/cgroup", "cgroup", "cgroup", [...quiet, "ro"]),
    mount("/dev/mqueue", "mqueue", "mqueue", quiet),
    ...(ipc?.case === "isolated" && ipc.value.withoutShm
      ? []
      : [mount("/dev/shm", "tmpfs", "shm", shm)]),
    ...["resolv.conf", "hostname", "hosts"].map((name) =>
      mount(`/etc/${name}`, "bind", `${directory}/${name}`, ["rbind", "rprivate"]),
    ),
  ];
}

function mountOf({ target: destination, readOnly, source }: Mount): object {
  const access = readOnly === true ? "ro" : "rw";
  if (source.case === "bind") {
    const options = ["rbind", "rprivate", access];
    return { destination, type: "bind", source: source.value.origin.value, options };
  }
  if (source.case !== "tmpfs") {
    throw new RangeError(`a mount of kind ${source.case} passed the support check`);
  }
  const { sizeBytes, permissions, options: further } = source.value;
  const options = [
    "nosuid",
    "nodev",
    access,
    `mode=${(permissions ?? 0o1777).toString(8)}`,
    ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`]),
    ...further,
  ];
  return { destination, type: "tmpfs", source: "tmpfs", options };
}

function resourcesOf(resources: Resources | undefined): object {
  if (resources === undefined) return {};
  const { memoryLimitBytes: memory, swapLimit, pidsLimit } = resources;
  const swap = swapLimit.case === "swapUnlimited" ? -1n : both(memory, swapLimit.value);
  return {
    memory: numbers({
      limit: memory,
      swap,
      reservation: resources.memoryReservationBytes,
      swappiness: resources.memorySwappiness,
    }),
    cpu: {
      ...numbers({
        shares: resources.cpuShares,
        period: resources.cpuPeriodMicros,
        quota: resources.cpuQuotaMicros,
      }),
      ...(resources.cpusetCpus.length > 0 && { cpus: resources.cpusetCpus.join(",") }),
      ...(resources.cpusetMems.length > 0 && { mems: resources.cpusetMems.join(",") }),
    },
    ...(pidsLimit.case && {
      pids: { limit: pidsLimit.case === "pidsLimitCount" ? Number(pidsLimit.value) : -1 },
    }),
  };
}

/** The kernel counts memory and swap together. */
function both(memory: bigint | undefined, swap: bigint | undefined): bigint | undefined {
  // The default, as on Docker, is as much swap as memory.
  return memory === undefined ? undefined : memory + (swap ?? memory);
}

function numbers(values: Record<string, bigint | undefined>): Record<string, number> {
  const set = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set.map(([key, value]) => [key, Number(value)]));
}

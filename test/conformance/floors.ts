/**
 * What must work on each engine, so that none passes by declaring things away.
 *
 * An exception names the only fields that an engine may refuse a case by, where its version or its
 * host cannot do it. Where they can, the case must prove its effect.
 */
import { allCases } from "./suite.js";

/** The cases that must work, and the fields by which some may be refused all the same. */
export interface Floor {
  readonly cases: ReadonlySet<string>;
  readonly exceptions: ReadonlyMap<string, readonly string[]>;
}

/** Docker is the base: everything must work, but what API 1.41 or the host's kernel does not have. */
export const dockerFloor: Floor = {
  cases: new Set(allCases),
  exceptions: new Map([
    // Docker has no such thing in any version.
    ["options: lxc_conf: raw keys", ["spec.lxc_config"]],
    ["options: userns_mode: its own", ["spec.namespaces.user.isolated"]],
    ["options: kernel_memory: kernel memory", ["spec.resources.kernel_memory_limit_bytes"]],
    ["options: kernel_memory: buffers of TCP", ["spec.resources.kernel_memory_tcp_limit_bytes"]],
    // The API has it in later versions.
    ["options: annotations: are handed to the runtime", ["spec.annotations"]],
    [
      "options: binds: read-only below other mounts too, or refused",
      ["spec.mounts[0].bind.recursive_read_only"],
    ],
    [
      "options: healthcheck: the time between probes while it starts",
      ["spec.health_probe.start_interval"],
    ],
    ["options: nocopy and subpath: a directory of a volume", ["spec.mounts[0].volume.subpath"]],
    [
      "options: nocopy and subpath: the file system of an image",
      ["spec.mounts[0].image", "spec.mounts[0].image.image"],
    ],
    // Control groups of version 2, or a kernel without the controller.
    ["options: mem_swappiness: a percentage", ["spec.resources.memory_swappiness"]],
    ["options: mem_swappiness: zero is a value", ["spec.resources.memory_swappiness"]],
    ["options: oom_kill_disable: with a memory limit", ["spec.resources.oom_kill_disabled"]],
    ["options: memswap_limit: swap beside the memory", ["spec.resources.swap_limit_bytes"]],
    ["options: memswap_limit: no limit of swap", ["spec.resources.swap_unlimited"]],
    ["options: blkio_weight: of the container", ["spec.resources.block_io.weight"]],
    ["options: blkio_weight: of one device", ["spec.resources.block_io.device_weights"]],
    // What the host has of confinement and storage.
    ["options: security_opt: an AppArmor profile", ["spec.security.apparmor_profile"]],
    ["options: security_opt: an SELinux label", ["spec.security.selinux_label"]],
    ["options: security_opt: no SELinux", ["spec.security.selinux_disabled"]],
    ["options: binds: labelled for SELinux", ["spec.mounts[0].bind.selinux_relabel"]],
    ["options: storage_opt: the size of the root file system", ["spec.storage_options"]],
  ]),
};

/** What the thin runC engine has: the life of containers, their output, and images of its own. */
export const runcFloor: Floor = {
  cases: new Set(
    allCases.filter((name) =>
      [
        /^containers: (?!.*(page token|attached to))/,
        /^run: (?!.*terminal)/,
        /^logs: (?!.*(terminal|keeps none))/,
        /^exec: /,
        /^events: (?!.*volumes)/,
        /^wait: (?!.*health)/,
        /^watch: (?!.*health)/,
        /^images: (refuses an archive|tags an image|refuses to remove)/,
        /^options: (image: by name|command|name|hostname: a name$|environment|working_dir|user: )/,
        /^options: (group_add|labels|tty|mem_limit|mem_reservation|shm_size|cpu_shares)/,
        /^options: (cpu_period|cpuset_cpus|pids_limit|ulimits: soft|network_disabled|sysctls)/,
        /^options: (network_mode: (none|host)|binds: (read-write|read-only$|a single|two))/,
        /^options: (tmpfs|cap_add: one|cap_drop|security_opt: (no-new|seccomp=)|read_only)/,
        /^options: (pid_mode: (host|its)|ipc_mode: host|uts_mode|stop_signal|stop_timeout)/,
      ].some((pattern) => pattern.test(name)),
    ),
  ),
  exceptions: new Map(),
};

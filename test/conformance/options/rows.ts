/** The rows of the option table: what a caller may say, each proven by at least one case. */

/** Options of a container, by the names that users of Docker know. */
const containerRows = [
  "image",
  "pull_policy",
  "platform",
  "command",
  "entrypoint",
  "name",
  "hostname",
  "domainname",
  "environment",
  "working_dir",
  "user",
  "group_add",
  "labels",
  "annotations",
  "tty",
  "stdin_open",
  "init",
  "mem_limit",
  "memswap_limit",
  "mem_swappiness",
  "mem_reservation",
  "kernel_memory",
  "oom_kill_disable",
  "oom_score_adj",
  "shm_size",
  "cpu_shares",
  "cpu_period and cpu_quota",
  "cpuset_cpus",
  "cpuset_mems",
  "cpu_rt_runtime",
  "pids_limit",
  "ulimits",
  "blkio_weight",
  "blkio limits",
  "cgroup_parent",
  "ports",
  "port_bindings",
  "publish_all_ports",
  "dns",
  "dns_search",
  "dns_opt",
  "extra_hosts",
  "links",
  "mac_address",
  "network_disabled",
  "network_mode",
  "volumes",
  "binds",
  "mount propagation",
  "volumes_from",
  "tmpfs",
  "nocopy and subpath",
  "storage_opt",
  "read_only",
  "privileged",
  "cap_add",
  "cap_drop",
  "security_opt",
  "masked and read-only paths",
  "pid_mode",
  "ipc_mode",
  "uts_mode",
  "userns_mode",
  "cgroupns_mode",
  "devices",
  "device_cgroup_rules",
  "device_requests",
  "sysctls",
  "runtime",
  "lxc_conf",
  "restart_policy",
  "stop_signal",
  "stop_timeout",
  "healthcheck",
  "log_config",
  "auto_remove",
] as const;

/** What is done with volumes. */
const volumeRows = [
  "volume create",
  "volume inspect and list",
  "volume remove",
  "volume prune",
  "volume mount",
  "volume share",
] as const;

/** What is done with networks. */
const networkRows = [
  "network create",
  "network list and inspect",
  "network connect",
  "network disconnect",
  "network remove",
  "network prune",
  "network reach",
] as const;

/** The row that a case proves. */
export type Row =
  | (typeof containerRows)[number]
  | (typeof volumeRows)[number]
  | (typeof networkRows)[number]
  | (typeof lifecycleRows)[number];

/**
 * The life of containers and images, each with the cases that prove it: ids, or what ids begin with
 * before a dot.
 */
const lifecycle = [
  ["create", "container.goes-through-its-states"],
  [
    "start",
    "container.goes-through-its-states",
    "container.says-when-start-and-stop-change-nothing",
  ],
  ["stop", "container.says-when-start-and-stop-change-nothing"],
  ["restart", "verb.restart-keeps-the-container"],
  ["kill", "container.sends-a-signal", "container.refuses-to-kill-what-does-not-run"],
  ["pause and unpause", "verb.pause-freezes-and-unpause-thaws"],
  ["rename", "verb.rename-frees-the-old-name"],
  ["update", "verb.update-changes-limits-of-a-running-container"],
  ["remove", "container.refuses-to-remove-a-running-one-unless-forced"],
  ["prune", "verb.prune-removes-what-is-stopped-and-selected"],
  ["wait", "wait", "container.arms-a-wait-before-the-start"],
  ["watch", "watch"],
  ["run", "run"],
  ["logs", "log"],
  ["events", "event"],
  ["stats", "stats"],
  ["top", "verb.top-lists-processes"],
  ["exec", "exec"],
  ["diff", "verb.diff-lists-changed-files-in-pages"],
  ["export", "archive.exports-the-whole-root"],
  ["copy in and out", "archive"],
  ["commit", "verb.commit-makes-an-image"],
  [
    "list",
    "container.lists-by-label-and-state-in-pages",
    "container.lists-by-network-volume-image-and-exit",
  ],
  [
    "inspect",
    "container.is-found-by-id-prefix-and-name",
    "container.lists-in-the-full-view-what-get-gives",
  ],
  ["image import", "image.imports-an-archive-with-its-configuration"],
  ["image list and inspect", "image.lists-by-reference-in-both-views"],
  ["image tag", "image.tags-finds-and-removes-by-reference"],
  ["image history and prune", "image.tells-its-history-and-prunes"],
  [
    "image save and load",
    "image.saves-two-and-loads-them-again",
    "image.saves-nothing-where-one-is-missing",
    "image.refuses-to-load-no-archive",
    "image.saves-and-loads-a-removed-one",
  ],
  [
    "image remove",
    "image.refuses-to-remove-one-in-use",
    "image.tags-finds-and-removes-by-reference",
  ],
] as const;

const lifecycleRows = lifecycle.map(([row]) => row);

/** All rows, in the table's order. */
export const rows: readonly Row[] = [
  ...containerRows,
  ...volumeRows,
  ...networkRows,
  ...lifecycleRows,
];

/** The rows that a case proves which is not about one option. */
export function lifecycleRowsOf(id: string): Row[] {
  return lifecycle
    .filter(([, ...proofs]) => proofs.some((proof) => id === proof || id.startsWith(`${proof}.`)))
    .map(([row]) => row);
}

/** What the rows above name as proofs. */
export const lifecycleProofs: readonly string[] = lifecycle.flatMap(([, ...proofs]) => proofs);

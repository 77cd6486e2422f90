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

/** The life of containers and images, proven by cases whose names (with their group) match. */
export const lifecycle = [
  ["create", /^containers: goes through created/],
  ["start", /^containers: (goes through created|says of a start)/],
  ["stop", /^containers: says of a start and a stop/],
  ["restart", /^verbs: restart gives/],
  ["kill", /^containers: (sends a signal|refuses to kill)/],
  ["pause and unpause", /^verbs: pause /],
  ["rename", /^verbs: rename /],
  ["update", /^verbs: update /],
  ["remove", /^containers: refuses to remove/],
  ["prune", /^verbs: prune /],
  ["wait", /^(wait: |containers: arms a wait)/],
  ["watch", /^watch: /],
  ["run", /^run: /],
  ["logs", /^logs: /],
  ["events", /^events: /],
  ["stats", /^stats: /],
  ["top", /^verbs: lists the processes/],
  ["exec", /^exec: /],
  ["diff", /^verbs: lists the changes/],
  ["export", /^archives: exports /],
  ["copy in and out", /^archives: /],
  ["commit", /^verbs: commit /],
  ["list", /^containers: lists containers by/],
  ["inspect", /^containers: (finds a container|lists whole)/],
  ["image import", /^images: imports /],
  ["image list and inspect", /^images: lists /],
  ["image tag", /^images: tags /],
  ["image history and prune", /^images: tells /],
  ["image save and load", /^images: (saves|refuses to load)/],
  ["image remove", /^images: (refuses to remove|tags )/],
] as const;

const lifecycleRows = lifecycle.map(([row]) => row);

/** All rows, in the table's order. */
export const rows: readonly Row[] = [
  ...containerRows,
  ...volumeRows,
  ...networkRows,
  ...lifecycleRows,
];

/** The rows that a case of another group proves too, by its name with the group's. */
export function lifecycleRowsOf(name: string): Row[] {
  return lifecycle.filter(([, pattern]) => pattern.test(name)).map(([row]) => row);
}

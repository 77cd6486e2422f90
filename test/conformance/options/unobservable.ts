/**
 * The effects that some machines cannot show, each with the probe that tells so when the tests run.
 * The list is closed: what is not in it must be seen, or be refused as the floors say.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";

/** Why this machine cannot show it. Undefined: it can. */
type Probe = () => string | undefined;

const bounding = (): bigint => {
  const status = readFileSync("/proc/self/status", "utf8");
  return BigInt(`0x${/^CapBnd:\t([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
};

/** A runtime cannot give a container capabilities that it does not have itself. */
const allCapabilities: Probe = () => {
  const last = BigInt(readFileSync("/proc/sys/kernel/cap_last_cap", "utf8").trim());
  const missing = ((1n << (last + 1n)) - 1n) & ~bounding();
  return missing === 0n ? undefined : `this process lacks capabilities 0x${missing.toString(16)}`;
};

const file =
  (path: string): Probe =>
  () =>
    existsSync(path) ? undefined : `there is no ${path}`;

const throttled: Probe = () =>
  blockDevice() === undefined
    ? "there is no block device"
    : existsSync("/sys/fs/cgroup/blkio") && !existsSync("/sys/fs/cgroup/blkio/blkio.reset_stats")
      ? "no controller limits block devices"
      : undefined;

const weighted: Probe = () =>
  ["blkio/blkio.weight", "blkio/blkio.bfq.weight", "io.weight"].some((name) =>
    existsSync(join("/sys/fs/cgroup", name)),
  )
    ? undefined
    : "no scheduler of block devices here has weights";

const realtime = file("/sys/fs/cgroup/cpu/cpu.rt_runtime_us");

const rlimits: Probe = () =>
  ((bounding() >> 24n) & 1n) === 1n ? undefined : "this process lacks CAP_SYS_RESOURCE";

/** By the name of the case. */
export const unobservable: Readonly<Record<string, Probe>> = {
  "privileged: all capabilities": allCapabilities,
  "privileged: every device of the host": allCapabilities,
  "cap_add: ALL": allCapabilities,
  "oom_score_adj: below that of the engine": rlimits,
  "devices: read alone": file("/dev/fuse"),
  "devices: at the same path, with everything allowed": file("/dev/fuse"),
  "device_cgroup_rules: a node that the container makes itself": file("/dev/fuse"),
  "blkio limits: bytes read in a second": throttled,
  "blkio limits: bytes written in a second": throttled,
  "blkio limits: reads and writes in a second": throttled,
  "blkio_weight: of the container": weighted,
  "blkio_weight: of one device": weighted,
  "cpu_rt_runtime: a share of each period": realtime,
  "gives IPv6 addresses, over which containers reach each other": file("/proc/net/if_inet6"),
  "cpuset_cpus: another than the first": () =>
    cpus().length > 1 ? undefined : "this machine has one processor",
};

/** A block device of this machine, with its numbers. */
export function blockDevice(): { path: string; numbers: string } | undefined {
  for (const name of existsSync("/sys/block") ? readdirSync("/sys/block") : []) {
    const path = join("/dev", name);
    const numbers = join("/sys/block", name, "dev");
    if (existsSync(path) && existsSync(numbers)) {
      return { path, numbers: readFileSync(numbers, "utf8").trim() };
    }
  }
  return undefined;
}

/**
 * The effects that some machines cannot show, each with the probe that tells so when the tests run.
 * The list is closed: what is not in it must be seen, or be refused as the floors say.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
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

/** By the id of the case. */
export const unobservable: Readonly<Record<string, Probe>> = {
  "option.privileged.all-capabilities": allCapabilities,
  "option.privileged.every-device-of-the-host": allCapabilities,
  "option.cap-add.all": allCapabilities,
  "option.oom-score-adj.below-the-engine": rlimits,
  "option.devices.read-only": file("/dev/fuse"),
  "option.devices.with-full-access": file("/dev/fuse"),
  "option.device-cgroup-rules.allow-a-node": file("/dev/fuse"),
  "option.blkio-limits.bytes-read": throttled,
  "option.blkio-limits.bytes-written": throttled,
  "option.blkio-limits.operations": throttled,
  "option.blkio-weight.of-the-container": weighted,
  "option.blkio-weight.of-one-device": weighted,
  "option.cpu-rt-runtime.is-set": realtime,
  "network.gives-ipv6-addresses": file("/proc/net/if_inet6"),
  "option.cpuset-cpus.another-than-the-first": () =>
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

/** Limits: memory, processors, processes and block devices, seen in the control group and as limits. */
import { expect } from "chai";
import type { SpecInit } from "../bench.js";
import type { OptionCase } from "./option.js";
import { MiB, cgroupFile } from "./option.js";
import { blockDevice } from "./unobservable.js";

const amount = (value: bigint) => ({ limit: { case: "amount" as const, value } });
const unlimited = { limit: { case: "unlimited" as const, value: {} } };
const device = blockDevice();
const devicePath = device?.path ?? "/dev/none";

/** A limit of a block device, with where version 1 and version 2 of control groups show it. */
const blockIo = (limits: NonNullable<NonNullable<SpecInit["resources"]>["blockIo"]>): SpecInit => ({
  resources: { blockIo: limits },
});
const throttle = (...files: string[]): string =>
  `cd /sys/fs/cgroup; for f in ${files.join(" ")}; do cat blkio/blkio.throttle.$f; done 2>/dev/null || cat io.max`;

export const resourceOptions: readonly OptionCase[] = [
  {
    option: "mem_limit",
    form: "bytes",
    spec: { resources: { memoryLimitBytes: 32n * MiB } },
    script: cgroupFile("memory", "memory.limit_in_bytes", "memory.max"),
    shows: String(32n * MiB),
  },
  {
    option: "mem_limit",
    form: "an allocation above it is killed and reported",
    see: async (bench) => {
      const swapLimit = { case: "swapLimitBytes" as const, value: 0n };
      const spec = { resources: { memoryLimitBytes: 8n * MiB, swapLimit } };
      const script = "exec awk 'BEGIN { x = \"0123456789abcdef\"; while (1) x = x x }'";
      const { exit } = await bench.run(spec, script);
      expect(exit).to.include({ code: 137, oomKilled: true });
      return "exit 137, out of memory";
    },
  },
  {
    option: "memswap_limit",
    form: "swap beside the memory",
    spec: {
      resources: {
        memoryLimitBytes: 32n * MiB,
        swapLimit: { case: "swapLimitBytes", value: 16n * MiB },
      },
    },
    script: cgroupFile("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    // Version 1 counts memory and swap together.
    shows: /^(50331648|16777216)$/,
  },
  {
    option: "memswap_limit",
    form: "no limit of swap",
    spec: {
      resources: {
        memoryLimitBytes: 32n * MiB,
        swapLimit: { case: "swapUnlimited", value: {} },
      },
    },
    script: cgroupFile("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    shows: /^(9223372036854771712|max)$/,
  },
  {
    option: "mem_swappiness",
    form: "a percentage",
    spec: { resources: { memorySwappiness: 37n } },
    script: "cat /sys/fs/cgroup/memory/memory.swappiness",
    shows: "37",
  },
  {
    option: "mem_swappiness",
    form: "zero is a value",
    spec: { resources: { memorySwappiness: 0n } },
    script: "cat /sys/fs/cgroup/memory/memory.swappiness",
    shows: "0",
  },
  {
    option: "mem_reservation",
    form: "bytes",
    spec: { resources: { memoryReservationBytes: 16n * MiB } },
    script: cgroupFile("memory", "memory.soft_limit_in_bytes", "memory.low"),
    shows: String(16n * MiB),
  },
  {
    option: "kernel_memory",
    form: "kernel memory",
    spec: { resources: { memoryLimitBytes: 32n * MiB, kernelMemoryLimitBytes: 16n * MiB } },
    script: "cat /sys/fs/cgroup/memory/memory.kmem.limit_in_bytes",
    shows: String(16n * MiB),
  },
  {
    option: "kernel_memory",
    form: "buffers of TCP",
    spec: { resources: { kernelMemoryTcpLimitBytes: 16n * MiB } },
    script: "cat /sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes",
    shows: String(16n * MiB),
  },
  {
    option: "oom_kill_disable",
    form: "with a memory limit",
    spec: { resources: { memoryLimitBytes: 32n * MiB, oomKillDisabled: true } },
    script: "sed -n 's/^oom_kill_disable //p' /sys/fs/cgroup/memory/memory.oom_control",
    shows: "1",
  },
  {
    option: "oom_score_adj",
    form: "above that of the engine",
    spec: { oomScoreAdj: 300 },
    script: "cat /proc/self/oom_score_adj",
    shows: "300",
  },
  {
    option: "oom_score_adj",
    form: "below that of the engine",
    spec: { oomScoreAdj: -300 },
    script: "cat /proc/self/oom_score_adj",
    shows: "-300",
  },
  {
    option: "shm_size",
    form: "bytes",
    spec: { shmSizeBytes: 8n * MiB },
    script: "df -k /dev/shm | awk 'NR==2 {print $2}'",
    shows: "8192",
  },
  {
    option: "cpu_shares",
    form: "a weight",
    spec: { resources: { cpuShares: 512n } },
    script: cgroupFile("cpu", "cpu.shares", "cpu.weight"),
    shows: /^(512|20|59)$/,
  },
  {
    option: "cpu_period and cpu_quota",
    form: "microseconds of each period",
    spec: {
      resources: { cpuPeriodMicros: 50_000n, cpuQuotaMicros: 25_000n },
    },
    script: `cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us 2>/dev/null || tr ' ' '\\n' <cpu.max`,
    shows: "25000\n50000",
  },
  {
    option: "cpu_period and cpu_quota",
    form: "who needs more has to wait",
    spec: {
      resources: { cpuPeriodMicros: 10_000n, cpuQuotaMicros: 2000n },
    },
    script: `n=0; while [ $n -lt 30000 ]; do n=$((n + 1)); done
      cd /sys/fs/cgroup; sed -n 's/^nr_throttled //p' $(ls cpu/cpu.stat cpu.stat 2>/dev/null)`,
    shows: /^[1-9]\d*$/,
  },
  {
    option: "cpuset_cpus",
    form: "the first",
    spec: { resources: { cpusetCpus: [0] } },
    script: "sed -n 's/^Cpus_allowed_list:\\t//p' /proc/self/status",
    shows: "0",
  },
  {
    option: "cpuset_cpus",
    form: "another than the first",
    spec: { resources: { cpusetCpus: [1] } },
    script: "sed -n 's/^Cpus_allowed_list:\\t//p' /proc/self/status",
    shows: "1",
  },
  {
    option: "cpuset_mems",
    form: "the first",
    spec: { resources: { cpusetMems: [0] } },
    script: "sed -n 's/^Mems_allowed_list:\\t//p' /proc/self/status",
    shows: "0",
  },
  {
    option: "cpu_rt_runtime",
    form: "a share of each period",
    see: async (bench) => {
      // The engine's own control group gives out what it has, which is nothing by itself.
      const group = `/sys/fs/cgroup/cpu/${bench.hostDirectory.split("/").at(-1)}`;
      await bench.onHost('echo 10000 >"$1/cpu.rt_runtime_us"', group);
      const resources = { cpuRealtimePeriodMicros: 1_000_000n, cpuRealtimeRuntimeMicros: 1000n };
      const { stdout } = await bench.run({ resources }, "cat /sys/fs/cgroup/cpu/cpu.rt_runtime_us");
      expect(stdout).to.equal("1000\n");
      return stdout;
    },
  },
  {
    option: "pids_limit",
    form: "a fork above it fails",
    spec: { resources: { pidsLimit: { case: "pidsLimitCount", value: 8n } } },
    script: "for n in 1 2 3 4 5 6 7 8 9; do sleep 1 & done 2>&1; wait",
    shows: /can't fork|Resource temporarily unavailable/,
  },
  {
    option: "pids_limit",
    form: "a count",
    spec: { resources: { pidsLimit: { case: "pidsLimitCount", value: 99n } } },
    script: cgroupFile("pids", "pids.max", "pids.max"),
    shows: "99",
  },
  {
    option: "pids_limit",
    form: "no limit",
    spec: { resources: { pidsLimit: { case: "pidsUnlimited", value: {} } } },
    script: cgroupFile("pids", "pids.max", "pids.max"),
    shows: "max",
  },
  {
    option: "ulimits",
    form: "soft and hard",
    spec: { ulimits: [{ name: "nofile", soft: amount(128n), hard: amount(256n) }] },
    script: "ulimit -Sn; ulimit -Hn",
    shows: "128\n256",
  },
  {
    option: "ulimits",
    form: "soft alone is hard too, and several",
    spec: {
      ulimits: [
        { name: "nofile", soft: amount(99n) },
        { name: "core", soft: amount(0n) },
      ],
    },
    script: "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc",
    shows: "99\n99\n0\n0",
  },
  {
    option: "ulimits",
    form: "a soft limit, and none that is hard",
    spec: { ulimits: [{ name: "cpu", soft: amount(77n), hard: unlimited }] },
    script: "ulimit -St; ulimit -Ht",
    shows: "77\nunlimited",
  },
  {
    option: "blkio_weight",
    form: "of the container",
    spec: blockIo({ weight: 300 }),
    script:
      "cd /sys/fs/cgroup; cat blkio/blkio.weight 2>/dev/null || cat blkio/blkio.bfq.weight 2>/dev/null || cat io.weight io.bfq.weight",
    shows: /300/,
  },
  {
    option: "blkio_weight",
    form: "of one device",
    spec: blockIo({ deviceWeights: [{ devicePath, weight: 300 }] }),
    script:
      "cd /sys/fs/cgroup; cat blkio/blkio.weight_device 2>/dev/null || cat blkio/blkio.bfq.weight_device 2>/dev/null || cat io.weight io.bfq.weight",
    shows: /300/,
  },
  {
    option: "blkio limits",
    form: "bytes read in a second",
    spec: blockIo({ readBytesPerSecond: [{ devicePath, bytesPerSecond: MiB }] }),
    script: throttle("read_bps_device"),
    shows: new RegExp(`^${device?.numbers} (1048576|rbps=1048576 .*)$`),
  },
  {
    option: "blkio limits",
    form: "bytes written in a second",
    spec: blockIo({ writeBytesPerSecond: [{ devicePath, bytesPerSecond: MiB }] }),
    script: throttle("write_bps_device"),
    shows: new RegExp(`^${device?.numbers} (1048576|.* wbps=1048576 .*)$`),
  },
  {
    option: "blkio limits",
    form: "reads and writes in a second",
    spec: blockIo({
      readsPerSecond: [{ devicePath, operationsPerSecond: 101n }],
      writesPerSecond: [{ devicePath, operationsPerSecond: 102n }],
    }),
    script: throttle("read_iops_device", "write_iops_device"),
    shows: new RegExp(`^${device?.numbers} (101\\n${device?.numbers} 102|.*riops=101 wiops=102)$`),
  },
  {
    option: "cgroup_parent",
    form: "the container's control group is below it",
    see: async (bench) => {
      const parent = `/${bench.hostDirectory.split("/").at(-1)}/parent`;
      const { pid } = await bench.start({ cgroupParent: parent });
      const groups = await bench.onHost("cat /proc/$1/cgroup", String(pid));
      expect(groups).to.include(`${parent}/`);
      return parent;
    },
  },
];

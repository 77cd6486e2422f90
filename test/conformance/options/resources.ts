/** Limits: memory, processors, processes and block devices, seen in the control group and as limits. */
import { expect } from "chai";
import type { SpecInit } from "../bench.js";
import type { OptionTest } from "./option.js";
import { cgroupFile, MiB } from "./option.js";
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

export function resourceOptions(option: OptionTest): void {
  option("option.mem-limit.is-set", "mem_limit", "bytes", {
    spec: { resources: { memoryLimitBytes: 32n * MiB } },
    script: cgroupFile("memory", "memory.limit_in_bytes", "memory.max"),
    shows: String(32n * MiB),
  });

  option(
    "option.mem-limit.kills-above",
    "mem_limit",
    "an allocation above it is killed and reported",
    async (bench) => {
      const swapLimit = { case: "swapLimitBytes" as const, value: 0n };
      // runc 1.1.15 itself takes 13 MiB of it at times, before it runs the command.
      const spec = { resources: { memoryLimitBytes: 32n * MiB, swapLimit } };
      const script = "exec awk 'BEGIN { x = \"0123456789abcdef\"; while (1) x = x x }'";
      const { exit } = await bench.run(spec, script);
      expect(exit).to.include({ code: 137, oomKilled: true });
      return "exit 137, out of memory";
    },
  );

  option("option.memswap-limit.is-set", "memswap_limit", "swap beside the memory", {
    spec: {
      resources: {
        memoryLimitBytes: 32n * MiB,
        swapLimit: { case: "swapLimitBytes", value: 16n * MiB },
      },
    },
    script: cgroupFile("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    shows: /^(50331648|16777216)$/,
  });

  option("option.memswap-limit.unlimited", "memswap_limit", "no limit of swap", {
    spec: {
      resources: {
        memoryLimitBytes: 32n * MiB,
        swapLimit: { case: "swapUnlimited", value: {} },
      },
    },
    script: cgroupFile("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    shows: /^(9223372036854771712|max)$/,
  });

  option("option.mem-swappiness.is-set", "mem_swappiness", "a percentage", {
    spec: { resources: { memorySwappiness: 37n } },
    script: "cat /sys/fs/cgroup/memory/memory.swappiness",
    shows: "37",
  });

  option("option.mem-swappiness.zero-is-set", "mem_swappiness", "zero is a value", {
    spec: { resources: { memorySwappiness: 0n } },
    script: "cat /sys/fs/cgroup/memory/memory.swappiness",
    shows: "0",
  });

  option("option.mem-reservation.is-set", "mem_reservation", "bytes", {
    spec: { resources: { memoryReservationBytes: 16n * MiB } },
    script: cgroupFile("memory", "memory.soft_limit_in_bytes", "memory.low"),
    shows: String(16n * MiB),
  });

  option("option.kernel-memory.is-set", "kernel_memory", "kernel memory", {
    spec: { resources: { memoryLimitBytes: 32n * MiB, kernelMemoryLimitBytes: 16n * MiB } },
    script: "cat /sys/fs/cgroup/memory/memory.kmem.limit_in_bytes",
    shows: String(16n * MiB),
  });

  option("option.kernel-memory.tcp-buffers", "kernel_memory", "buffers of TCP", {
    spec: { resources: { kernelMemoryTcpLimitBytes: 16n * MiB } },
    script: "cat /sys/fs/cgroup/memory/memory.kmem.tcp.limit_in_bytes",
    shows: String(16n * MiB),
  });

  option("option.oom-kill-disable.with-memory-limit", "oom_kill_disable", "with a memory limit", {
    spec: { resources: { memoryLimitBytes: 32n * MiB, oomKillDisabled: true } },
    script: "sed -n 's/^oom_kill_disable //p' /sys/fs/cgroup/memory/memory.oom_control",
    shows: "1",
  });

  option("option.oom-score-adj.above-the-engine", "oom_score_adj", "above that of the engine", {
    spec: { oomScoreAdj: 300 },
    script: "cat /proc/self/oom_score_adj",
    shows: "300",
  });

  option("option.oom-score-adj.below-the-engine", "oom_score_adj", "below that of the engine", {
    spec: { oomScoreAdj: -300 },
    script: "cat /proc/self/oom_score_adj",
    shows: "-300",
  });

  option("option.shm-size.is-set", "shm_size", "bytes", {
    spec: { shmSizeBytes: 8n * MiB },
    script: "df -k /dev/shm | awk 'NR==2 {print $2}'",
    shows: "8192",
  });

  option("option.cpu-shares.is-set", "cpu_shares", "a weight", {
    spec: { resources: { cpuShares: 512n } },
    script: cgroupFile("cpu", "cpu.shares", "cpu.weight"),
    shows: /^(512|20|59)$/,
  });

  option("option.cpu-quota.is-set", "cpu_period and cpu_quota", "microseconds of each period", {
    spec: {
      resources: { cpuPeriodMicros: 50_000n, cpuQuotaMicros: 25_000n },
    },
    script: `cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us 2>/dev/null || tr ' ' '\\n' <cpu.max`,
    shows: "25000\n50000",
  });

  option("option.cpu-quota.throttles", "cpu_period and cpu_quota", "who needs more has to wait", {
    spec: {
      resources: { cpuPeriodMicros: 10_000n, cpuQuotaMicros: 2000n },
    },
    script: `n=0; while [ $n -lt 30000 ]; do n=$((n + 1)); done
      cd /sys/fs/cgroup; sed -n 's/^nr_throttled //p' $(ls cpu/cpu.stat cpu.stat 2>/dev/null)`,
    shows: /^[1-9]\d*$/,
  });

  option("option.cpuset-cpus.first", "cpuset_cpus", "the first", {
    spec: { resources: { cpusetCpus: [0] } },
    script: "sed -n 's/^Cpus_allowed_list:\\t//p' /proc/self/status",
    shows: "0",
  });

  option("option.cpuset-cpus.another-than-the-first", "cpuset_cpus", "another than the first", {
    spec: { resources: { cpusetCpus: [1] } },
    script: "sed -n 's/^Cpus_allowed_list:\\t//p' /proc/self/status",
    shows: "1",
  });

  option("option.cpuset-mems.first", "cpuset_mems", "the first", {
    spec: { resources: { cpusetMems: [0] } },
    script: "sed -n 's/^Mems_allowed_list:\\t//p' /proc/self/status",
    shows: "0",
  });

  option(
    "option.cpu-rt-runtime.is-set",
    "cpu_rt_runtime",
    "a share of each period",
    async (bench) => {
      // The engine's own control group gives out what it has, which is nothing by itself.
      const group = `/sys/fs/cgroup/cpu/${bench.hostDirectory.split("/").at(-1)}`;
      await bench.onHost('echo 10000 >"$1/cpu.rt_runtime_us"', group);
      const resources = { cpuRealtimePeriodMicros: 1_000_000n, cpuRealtimeRuntimeMicros: 1000n };
      const { stdout } = await bench.run({ resources }, "cat /sys/fs/cgroup/cpu/cpu.rt_runtime_us");
      expect(stdout).to.equal("1000\n");
      return stdout;
    },
  );

  option("option.pids-limit.a-fork-above-fails", "pids_limit", "a fork above it fails", {
    spec: { resources: { pidsLimit: { case: "pidsLimitCount", value: 8n } } },
    script: "for n in 1 2 3 4 5 6 7 8 9; do sleep 1 & done 2>&1; wait",
    shows: /can't fork|Resource temporarily unavailable/,
  });

  option("option.pids-limit.is-set", "pids_limit", "a count", {
    spec: { resources: { pidsLimit: { case: "pidsLimitCount", value: 99n } } },
    script: cgroupFile("pids", "pids.max", "pids.max"),
    shows: "99",
  });

  option("option.pids-limit.no-limit", "pids_limit", "no limit", {
    spec: { resources: { pidsLimit: { case: "pidsUnlimited", value: {} } } },
    script: cgroupFile("pids", "pids.max", "pids.max"),
    shows: "max",
  });

  option("option.ulimits.soft-and-hard", "ulimits", "soft and hard", {
    spec: { ulimits: [{ name: "nofile", soft: amount(128n), hard: amount(256n) }] },
    script: "ulimit -Sn; ulimit -Hn",
    shows: "128\n256",
  });

  option(
    "option.ulimits.soft-alone-is-hard-too",
    "ulimits",
    "soft alone is hard too, and several",
    {
      spec: {
        ulimits: [
          { name: "nofile", soft: amount(99n) },
          { name: "core", soft: amount(0n) },
        ],
      },
      script: "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc",
      shows: "99\n99\n0\n0",
    },
  );

  option(
    "option.ulimits.soft-with-unlimited-hard",
    "ulimits",
    "a soft limit, and none that is hard",
    {
      spec: { ulimits: [{ name: "cpu", soft: amount(77n), hard: unlimited }] },
      script: "ulimit -St; ulimit -Ht",
      shows: "77\nunlimited",
    },
  );

  option("option.blkio-weight.of-the-container", "blkio_weight", "of the container", {
    spec: blockIo({ weight: 300 }),
    script:
      "cd /sys/fs/cgroup; cat blkio/blkio.weight 2>/dev/null || cat blkio/blkio.bfq.weight 2>/dev/null || cat io.weight io.bfq.weight",
    shows: /300/,
  });

  option("option.blkio-weight.of-one-device", "blkio_weight", "of one device", {
    spec: blockIo({ deviceWeights: [{ devicePath, weight: 300 }] }),
    script:
      "cd /sys/fs/cgroup; cat blkio/blkio.weight_device 2>/dev/null || cat blkio/blkio.bfq.weight_device 2>/dev/null || cat io.weight io.bfq.weight",
    shows: /300/,
  });

  option("option.blkio-limits.bytes-read", "blkio limits", "bytes read in a second", {
    spec: blockIo({ readBytesPerSecond: [{ devicePath, bytesPerSecond: MiB }] }),
    script: throttle("read_bps_device"),
    shows: new RegExp(`^${device?.numbers} (1048576|rbps=1048576 .*)$`),
  });

  option("option.blkio-limits.bytes-written", "blkio limits", "bytes written in a second", {
    spec: blockIo({ writeBytesPerSecond: [{ devicePath, bytesPerSecond: MiB }] }),
    script: throttle("write_bps_device"),
    shows: new RegExp(`^${device?.numbers} (1048576|.* wbps=1048576 .*)$`),
  });

  option("option.blkio-limits.operations", "blkio limits", "reads and writes in a second", {
    spec: blockIo({
      readsPerSecond: [{ devicePath, operationsPerSecond: 101n }],
      writesPerSecond: [{ devicePath, operationsPerSecond: 102n }],
    }),
    script: throttle("read_iops_device", "write_iops_device"),
    shows: new RegExp(`^${device?.numbers} (101\\n${device?.numbers} 102|.*riops=101 wiops=102)$`),
  });

  option(
    "option.cgroup-parent.holds-the-container",
    "cgroup_parent",
    "the container's control group is below it",
    async (bench) => {
      const parent = `/${bench.hostDirectory.split("/").at(-1)}/parent`;
      const { pid } = await bench.start({ cgroupParent: parent });
      const groups = await bench.onHost("cat /proc/$1/cgroup", String(pid));
      expect(groups).to.include(`${parent}/`);
      return parent;
    },
  );
}

/** Measurements are converted from dockerd's JSON. */
import { create, toJson } from "@bufbuild/protobuf";
import { expect } from "chai";
import { ContainerStatsSchema } from "../../../../gen/nap/v1/container_service_pb.js";
import type { StatsJson } from "./stats.js";
import { setCpuUsageCores, statsFromDocker } from "./stats.js";

const host = 25_276_502_016;
const container = { containerId: "a1", name: "name" };
const measuredBoth = {
  read: "2026-11-24T12:51:27.353964224Z",
  networks: {
    eth0: {
      rx_bytes: 822,
      rx_packets: 9,
      rx_errors: 0,
      rx_dropped: 1,
      tx_bytes: 5,
      tx_packets: 2,
      tx_errors: 0,
      tx_dropped: 0,
    },
  },
};

/** As dockerd 20.10 writes it with control groups of version 1. */
const version1: StatsJson = {
  ...measuredBoth,
  pids_stats: { current: 1 },
  blkio_stats: {
    io_service_bytes_recursive: [
      { major: 8, minor: 0, op: "Read", value: 4096 },
      { major: 8, minor: 0, op: "Write", value: 8192 },
      { major: 8, minor: 0, op: "Total", value: 12_288 },
    ],
    io_serviced_recursive: [{ major: 8, minor: 0, op: "Read", value: 1 }],
  },
  cpu_stats: {
    cpu_usage: {
      total_usage: 1_652_143_559,
      usage_in_kernelmode: 0,
      usage_in_usermode: 640_000_000,
    },
    online_cpus: 2,
    throttling_data: { periods: 13, throttled_periods: 11, throttled_time: 533_220_520 },
  },
  memory_stats: {
    usage: 471_040,
    max_usage: 4_341_760,
    limit: 67_108_864,
    failcnt: 3,
    stats: {
      cache: 1,
      rss: 1,
      inactive_file: 1,
      total_cache: 4096,
      total_rss: 57_344,
      total_swap: 8,
      total_inactive_file: 1040,
    },
  },
};

/** The same with version 2. */
const version2: StatsJson = {
  ...measuredBoth,
  pids_stats: { current: 1, limit: 18_446_744_073_709_552_000 },
  blkio_stats: {
    io_service_bytes_recursive: [
      { major: 8, minor: 0, op: "read", value: 4096 },
      { major: 8, minor: 0, op: "write", value: 8192 },
    ],
    io_serviced_recursive: null,
  },
  cpu_stats: version1.cpu_stats!,
  memory_stats: {
    usage: 471_040,
    limit: host,
    stats: { anon: 57_344, file: 4096, inactive_file: 1040 },
  },
};

/** The whole answer of dockerd 26.1.5 to `stream=false&one-shot=true`, without an id and a name. */
const oneShotOf26 = `{"read":"2026-11-24T18:23:13.460990865Z","preread":"0001-01-01T00:00:00Z",
"pids_stats":{"current":1},"blkio_stats":{"io_service_bytes_recursive":[],
"io_serviced_recursive":[],"io_queue_recursive":[],"io_service_time_recursive":[],
"io_wait_time_recursive":[],"io_merged_recursive":[],"io_time_recursive":[],
"sectors_recursive":[]},"num_procs":0,"storage_stats":{},"cpu_stats":{"cpu_usage":{
"total_usage":25153681,"percpu_usage":[19550046,5603635],"usage_in_kernelmode":10000000,
"usage_in_usermode":0},"system_cpu_usage":969570000000,"online_cpus":2,"throttling_data":{
"periods":0,"throttled_periods":0,"throttled_time":0}},"precpu_stats":{"cpu_usage":{
"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},"throttling_data":{"periods":0,
"throttled_periods":0,"throttled_time":0}},"memory_stats":{"usage":339968,"max_usage":4075520,
"stats":{"active_anon":4096,"active_file":4096,"cache":4096,"dirty":4096,
"hierarchical_memory_limit":9223372036854772000,"hierarchical_memsw_limit":9223372036854772000,
"inactive_anon":49152,"inactive_file":0,"mapped_file":0,"pgfault":1093,"pgmajfault":0,
"pgpgin":794,"pgpgout":780,"rss":53248,"rss_huge":0,"total_active_anon":4096,
"total_active_file":4096,"total_cache":4096,"total_dirty":4096,"total_inactive_anon":49152,
"total_inactive_file":0,"total_mapped_file":0,"total_pgfault":1093,"total_pgmajfault":0,
"total_pgpgin":794,"total_pgpgout":780,"total_rss":53248,"total_rss_huge":0,
"total_unevictable":0,"total_writeback":0,"unevictable":0,"writeback":0},"limit":25276502016},
"networks":{"eth0":{"rx_bytes":786,"rx_packets":9,"rx_errors":0,"rx_dropped":0,"tx_bytes":0,
"tx_packets":0,"tx_errors":0,"tx_dropped":0}}}`;

const json = (stats: StatsJson) =>
  toJson(
    ContainerStatsSchema,
    statsFromDocker(container, stats, host) ?? create(ContainerStatsSchema),
  );

const both = {
  containerId: "a1",
  name: "name",
  sampleTime: "2026-11-24T12:51:27.353964224Z",
  cpu: {
    usage: "1.652143559s",
    kernelUsage: "0s",
    userUsage: "0.640s",
    onlineCpus: 2,
    throttlingPeriods: "13",
    throttledPeriods: "11",
    throttledTime: "0.533220520s",
  },
  networkInterfaces: [
    {
      name: "eth0",
      receivedBytes: "822",
      receivedPackets: "9",
      receiveErrors: "0",
      receiveDrops: "1",
      sentBytes: "5",
      sentPackets: "2",
      sendErrors: "0",
      sendDrops: "0",
    },
  ],
  pidsCount: "1",
};
const bytes = { major: 8, readBytes: "4096", writtenBytes: "8192" };
const memory = {
  usageBytes: "471040",
  workingSetBytes: "470000",
  cacheBytes: "4096",
  anonymousBytes: "57344",
};

describe("measurements", () => {
  it("takes what control groups of version 1 measure, with their children", () => {
    expect(json(version1)).to.deep.equal({
      ...both,
      memory: {
        ...memory,
        limitBytes: "67108864",
        peakUsageBytes: "4341760",
        swapBytes: "8",
        limitHits: "3",
      },
      blockDevices: [{ ...bytes, reads: "1" }],
    });
  });

  it("takes what version 2 measures, and leaves unset what is no limit or not measured", () => {
    expect(json(version2)).to.deep.equal({ ...both, memory, blockDevices: [bytes] });
  });

  it("takes a measurement that does not say which container it is of", () => {
    expect(json(JSON.parse(oneShotOf26) as StatsJson)).to.deep.include({
      ...container,
      sampleTime: "2026-11-24T18:23:13.460990865Z",
      pidsCount: "1",
      memory: {
        usageBytes: "339968",
        workingSetBytes: "339968",
        peakUsageBytes: "4075520",
        cacheBytes: "4096",
        anonymousBytes: "53248",
      },
    });
  });

  it("takes a measurement of what does not run for none", () => {
    const none = { read: "0001-01-01T00:00:00Z", memory_stats: {}, pids_stats: {} };
    expect(statsFromDocker(container, none, host)).to.equal(undefined);
  });

  it("tells cores from usage and time, and none without a measurement before", () => {
    const at = (read: string, total_usage: number) =>
      statsFromDocker(
        container,
        { ...version1, read, cpu_stats: { cpu_usage: { total_usage } } },
        host,
      )!;
    const first = at("2026-11-24T12:00:00.5Z", 1_000_000_000);
    const second = at("2026-11-24T12:00:02.5Z", 4_000_000_000);
    setCpuUsageCores(first, undefined);
    expect(first.cpu?.cpuUsageCores).to.equal(undefined);
    setCpuUsageCores(second, first);
    expect(second.cpu?.cpuUsageCores).to.equal(1.5);
    for (const [now, before] of [
      [at("2026-11-24T12:00:03.5Z", 5), second],
      [at("2026-11-24T12:00:02.5Z", 5_000_000_000), second],
    ] as const) {
      setCpuUsageCores(now, before);
      expect(now.cpu?.cpuUsageCores).to.equal(undefined);
    }
  });
});

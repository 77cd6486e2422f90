/**
 * Converts dockerd's stats of a container, for cgroup v1 and v2.
 *
 * dockerd leaves out, or writes as null or an empty object, what it has not measured; so does nap.
 */
import { create } from "@bufbuild/protobuf";
import type { Duration } from "@bufbuild/protobuf/wkt";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import type {
  BlockDeviceStats,
  ContainerStats,
  CpuStats,
  MemoryStats,
  NetworkInterfaceStats,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  BlockDeviceStatsSchema,
  ContainerStatsSchema,
  CpuStatsSchema,
  MemoryStatsSchema,
  NetworkInterfaceStatsSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { timestampOf } from "../../../lib/time.js";

/**
 * dockerd's measurement of one container. The container's id and name are left out: the answers of
 * 26 and 28 to `one-shot` have none.
 */
export interface StatsJson {
  readonly read: string;
  readonly pids_stats?: { readonly current?: number; readonly limit?: number };
  readonly cpu_stats?: CpuJson;
  readonly memory_stats?: MemoryJson;
  readonly blkio_stats?: {
    readonly io_service_bytes_recursive?: readonly BlockJson[] | null;
    readonly io_serviced_recursive?: readonly BlockJson[] | null;
  };
  readonly networks?: Readonly<Record<string, NetworkJson>>;
}

interface CpuJson {
  readonly cpu_usage?: {
    readonly total_usage: number;
    readonly usage_in_kernelmode?: number;
    readonly usage_in_usermode?: number;
  };
  readonly online_cpus?: number;
  readonly throttling_data?: {
    readonly periods: number;
    readonly throttled_periods: number;
    readonly throttled_time: number;
  };
}

interface MemoryJson {
  readonly usage?: number;
  readonly max_usage?: number;
  readonly limit?: number;
  readonly failcnt?: number;
  /** The fields of memory.stat, whose names tell the version. */
  readonly stats?: Readonly<Record<string, number>>;
}

interface BlockJson {
  readonly major: number;
  readonly minor: number;
  readonly op: string;
  readonly value: number;
}

interface NetworkJson {
  readonly rx_bytes: number;
  readonly rx_packets: number;
  readonly rx_errors: number;
  readonly rx_dropped: number;
  readonly tx_bytes: number;
  readonly tx_packets: number;
  readonly tx_errors: number;
  readonly tx_dropped: number;
}

/** The largest number of 64 bits, as JSON.parse rounds it: dockerd's word for "no limit". */
const unlimited = 2 ** 63;

/** The container that a measurement is of. */
export type Measured = Pick<ContainerStats, "containerId" | "name">;

/**
 * A measurement as the contract has it; undefined where the container did not run.
 * `hostMemoryBytes` is what dockerd says where a container has no limit of its own.
 */
export function statsFromDocker(
  container: Measured,
  json: StatsJson,
  hostMemoryBytes: number,
): ContainerStats | undefined {
  const sampleTime = timestampOf(json.read);
  if (sampleTime === undefined || json.cpu_stats?.cpu_usage === undefined) return undefined;
  const { current, limit = 0 } = json.pids_stats ?? {};
  return create(ContainerStatsSchema, {
    ...container,
    sampleTime,
    cpu: cpu(json.cpu_stats),
    memory: memory(json.memory_stats, hostMemoryBytes),
    networkInterfaces: Object.entries(json.networks ?? {}).map(([name, one]) =>
      networkInterface(name, one),
    ),
    blockDevices: blockDevices(json.blkio_stats),
    ...amount("pidsCount", current),
    ...amount("pidsLimitCount", limit > 0 && limit < unlimited ? limit : undefined),
  });
}

function cpu({ cpu_usage: usage, online_cpus: online, throttling_data: wait }: CpuJson): CpuStats {
  return create(CpuStatsSchema, {
    usage: span(usage?.total_usage),
    kernelUsage: span(usage?.usage_in_kernelmode),
    userUsage: span(usage?.usage_in_usermode),
    ...(online !== undefined && online > 0 && { onlineCpus: online }),
    ...amount("throttlingPeriods", wait?.periods),
    ...amount("throttledPeriods", wait?.throttled_periods),
    throttledTime: span(wait?.throttled_time),
  });
}

function memory(json: MemoryJson | undefined, hostMemoryBytes: number): MemoryStats | undefined {
  const { usage, limit = 0, stats = {} } = json ?? {};
  if (usage === undefined) return undefined;
  // Version 1 counts the children of a control group in fields of their own.
  const inactive = stats["total_inactive_file"] ?? stats["inactive_file"];
  return create(MemoryStatsSchema, {
    ...amount("usageBytes", usage),
    ...amount(
      "workingSetBytes",
      inactive === undefined ? undefined : Math.max(0, usage - inactive),
    ),
    ...amount("limitBytes", limit > 0 && limit < hostMemoryBytes ? limit : undefined),
    ...amount("peakUsageBytes", json?.max_usage),
    ...amount("cacheBytes", stats["total_cache"] ?? stats["cache"] ?? stats["file"]),
    ...amount("anonymousBytes", stats["total_rss"] ?? stats["rss"] ?? stats["anon"]),
    ...amount("swapBytes", stats["total_swap"] ?? stats["swap"]),
    ...amount("limitHits", json?.failcnt),
  });
}

function networkInterface(name: string, json: NetworkJson): NetworkInterfaceStats {
  return create(NetworkInterfaceStatsSchema, {
    name,
    ...amount("receivedBytes", json.rx_bytes),
    ...amount("receivedPackets", json.rx_packets),
    ...amount("receiveErrors", json.rx_errors),
    ...amount("receiveDrops", json.rx_dropped),
    ...amount("sentBytes", json.tx_bytes),
    ...amount("sentPackets", json.tx_packets),
    ...amount("sendErrors", json.tx_errors),
    ...amount("sendDrops", json.tx_dropped),
  });
}

/** Version 1 names the operations Read and Write, version 2 read and write. */
function blockDevices(json: StatsJson["blkio_stats"]): BlockDeviceStats[] {
  const devices = new Map<string, BlockDeviceStats>();
  const take = (entries: readonly BlockJson[] | null | undefined, fields: BlockFields): void => {
    for (const { major, minor, op, value } of entries ?? []) {
      const field = fields[op.toLowerCase()];
      if (field === undefined) continue;
      const key = `${major}:${minor}`;
      const device = devices.get(key) ?? create(BlockDeviceStatsSchema, { major, minor });
      devices.set(key, device);
      device[field] = (device[field] ?? 0n) + BigInt(value);
    }
  };
  take(json?.io_service_bytes_recursive, { read: "readBytes", write: "writtenBytes" });
  take(json?.io_serviced_recursive, { read: "reads", write: "writes" });
  return [...devices.values()];
}

type BlockFields = Readonly<
  Record<string, "readBytes" | "writtenBytes" | "reads" | "writes" | undefined>
>;

/**
 * Sets the number of CPU cores used since the previous measurement: CPU time divided by elapsed time. It
 * remains unset without a previous measurement and after a restart of the container.
 */
export function setCpuUsageCores(now: ContainerStats, before: ContainerStats | undefined): void {
  const used = nanos(now.cpu?.usage) - nanos(before?.cpu?.usage);
  const passed = nanos(now.sampleTime) - nanos(before?.sampleTime);
  if (now.cpu === undefined || before?.cpu === undefined || used < 0n || passed <= 0n) return;
  now.cpu.cpuUsageCores = Number(used) / Number(passed);
}

function nanos(time: { readonly seconds: bigint; readonly nanos: number } | undefined): bigint {
  return (time?.seconds ?? 0n) * 1_000_000_000n + BigInt(time?.nanos ?? 0);
}

/** A span from nanoseconds, of which 0 is one. */
function span(value: number | undefined): Duration | undefined {
  if (value === undefined) return undefined;
  const all = BigInt(value);
  const seconds = all / 1_000_000_000n;
  return create(DurationSchema, { seconds, nanos: Number(all % 1_000_000_000n) });
}

/** A field that is set where there is a value. */
function amount<K extends string>(field: K, value: number | undefined): { [key in K]?: bigint } {
  return value === undefined ? {} : ({ [field]: BigInt(value) } as { [key in K]: bigint });
}

/** Converts limits between messages and dockerd's HostConfig. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type {
  Resources,
  Ulimit,
  UlimitValue,
  UlimitValueSchema,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import { ResourcesSchema, UlimitSchema } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { fieldError } from "../../../../contract/errors.js";
import type { HostConfigJson, UlimitJson } from "../../json.js";
import { blockIoFromDocker, blockIoToDocker } from "./block-io.js";

/** dockerd turns `--cpus` into a quota over this period. */
const defaultPeriodMicros = 100_000;

/** Returns limits in dockerd's request format. Docker counts memory and swap together, nap counts them apart. */
export function resourcesToDocker(resources: Resources | undefined): HostConfigJson {
  if (resources === undefined) return {};
  const { pidsLimit } = resources;
  return {
    ...numbers({
      Memory: resources.memoryLimitBytes,
      MemorySwap: memoryAndSwap(resources),
      MemoryReservation: resources.memoryReservationBytes,
      MemorySwappiness: resources.memorySwappiness,
      KernelMemoryTCP: resources.kernelMemoryTcpLimitBytes,
      CpuShares: resources.cpuShares,
      CpuPeriod: resources.cpuPeriodMicros,
      CpuQuota: resources.cpuQuotaMicros,
      CpuRealtimePeriod: resources.cpuRealtimePeriodMicros,
      CpuRealtimeRuntime: resources.cpuRealtimeRuntimeMicros,
      PidsLimit: limit(pidsLimit),
    }),
    ...(resources.oomKillDisabled !== undefined && { OomKillDisable: resources.oomKillDisabled }),
    ...(resources.cpusetCpus.length > 0 && { CpusetCpus: resources.cpusetCpus.join(",") }),
    ...blockIoToDocker(resources.blockIo),
    ...(resources.cpusetMems.length > 0 && { CpusetMems: resources.cpusetMems.join(",") }),
  };
}

function memoryAndSwap({ memoryLimitBytes, swapLimit }: Resources): bigint | undefined {
  if (swapLimit.case === undefined) return undefined;
  if (memoryLimitBytes === undefined) {
    const description = "Docker limits swap only together with memory_limit_bytes";
    const field =
      swapLimit.case === "swapUnlimited"
        ? "spec.resources.swap_unlimited"
        : "spec.resources.swap_limit_bytes";
    throw fieldError([{ field, description, reason: "FIELD_INVALID" }]);
  }
  return swapLimit.case === "swapUnlimited" ? -1n : memoryLimitBytes + swapLimit.value;
}

/** The number of a oneof of a limit and "unlimited", which dockerd writes as -1. */
function limit(oneof: { case: string | undefined; value?: unknown }): bigint | undefined {
  if (oneof.case === undefined) return undefined;
  return typeof oneof.value === "bigint" ? oneof.value : -1n;
}

function numbers(values: Record<string, bigint | undefined>): HostConfigJson {
  const set = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set.map(([key, value]) => [key, Number(value)]));
}

/** Limits as dockerd reports them. Undefined: there are none. */
export function resourcesFromDocker(host: HostConfigJson): Resources | undefined {
  const init: MessageInitShape<typeof ResourcesSchema> = {};
  const { Memory = 0, MemorySwap = 0, PidsLimit, CpuQuota = 0, NanoCpus = 0 } = host;
  if (Memory > 0) init.memoryLimitBytes = BigInt(Memory);
  if (MemorySwap < 0) init.swapLimit = { case: "swapUnlimited", value: {} };
  else if (MemorySwap > 0) {
    init.swapLimit = { case: "swapLimitBytes", value: BigInt(MemorySwap - Memory) };
  }
  if (PidsLimit && PidsLimit < 0) init.pidsLimit = { case: "pidsUnlimited", value: {} };
  else if (PidsLimit) init.pidsLimit = { case: "pidsLimitCount", value: BigInt(PidsLimit) };
  if (NanoCpus > 0) {
    const quota = Math.round((NanoCpus * defaultPeriodMicros) / 1e9);
    init.cpuQuotaMicros = BigInt(quota);
    init.cpuPeriodMicros = BigInt(defaultPeriodMicros);
  } else if (CpuQuota > 0) init.cpuQuotaMicros = BigInt(CpuQuota);
  if (host.CpuPeriod) init.cpuPeriodMicros = BigInt(host.CpuPeriod);
  if (host.MemoryReservation) init.memoryReservationBytes = BigInt(host.MemoryReservation);
  // dockerd before 23 reports an unset swappiness as -1 or null.
  const swappiness = host.MemorySwappiness ?? -1;
  if (swappiness >= 0) init.memorySwappiness = BigInt(swappiness);
  if (host.KernelMemory) init.kernelMemoryLimitBytes = BigInt(host.KernelMemory);
  if (host.KernelMemoryTCP) init.kernelMemoryTcpLimitBytes = BigInt(host.KernelMemoryTCP);
  if (host.CpuShares) init.cpuShares = BigInt(host.CpuShares);
  if (host.CpuRealtimePeriod) init.cpuRealtimePeriodMicros = BigInt(host.CpuRealtimePeriod);
  if (host.CpuRealtimeRuntime) init.cpuRealtimeRuntimeMicros = BigInt(host.CpuRealtimeRuntime);
  const blockIo = blockIoFromDocker(host);
  if (blockIo !== undefined) init.blockIo = blockIo;
  if (host.OomKillDisable) init.oomKillDisabled = true;
  if (host.CpusetCpus) init.cpusetCpus = cpusetNumbers(host.CpusetCpus);
  if (host.CpusetMems) init.cpusetMems = cpusetNumbers(host.CpusetMems);
  return Object.keys(init).length === 0 ? undefined : create(ResourcesSchema, init);
}

/** The numbers of a list such as "0-3,7". */
export function cpusetNumbers(list: string): number[] {
  return list.split(",").flatMap((part) => {
    const [first = 0, last = first] = part.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

/** Returns process limits in dockerd's request format; -1 is unlimited. */
export function ulimitsToDocker(ulimits: readonly Ulimit[]): UlimitJson[] {
  return ulimits.map(({ name, soft, hard }) => ({
    Name: name,
    Soft: ulimitNumber(soft),
    Hard: ulimitNumber(hard ?? soft),
  }));
}

function ulimitNumber(value: UlimitValue | undefined): number {
  return value?.limit.case === "amount" ? Number(value.limit.value) : -1;
}

/** Process limits as dockerd reports them. */
export function ulimitsFromDocker(ulimits: readonly UlimitJson[] | null | undefined): Ulimit[] {
  return (ulimits ?? []).map(({ Name, Soft, Hard }) =>
    create(UlimitSchema, { name: Name, soft: ulimitValue(Soft), hard: ulimitValue(Hard) }),
  );
}

function ulimitValue(value: number): MessageInitShape<typeof UlimitValueSchema> {
  return value < 0
    ? { limit: { case: "unlimited", value: {} } }
    : { limit: { case: "amount", value: BigInt(value) } };
}

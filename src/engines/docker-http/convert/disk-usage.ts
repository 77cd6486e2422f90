/** Converts what dockerd says of its disk, counted as `docker system df` counts. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  DiskUsageSchema,
  GetDiskUsageResponseSchema,
} from "../../../../gen/nap/v1/engine_service_pb.js";

/** The parts of dockerd's answer that are counted; a size of -1 is unknown. */
export interface DiskUsageJson {
  readonly LayersSize: number;
  readonly Images: { Size: number; SharedSize: number; Containers: number }[] | null;
  readonly Containers: { SizeRw?: number; State: string }[] | null;
  readonly Volumes: { UsageData?: { Size: number; RefCount: number } | null }[] | null;
  readonly BuildCache: { Size: number; InUse: boolean; Shared: boolean }[] | null;
}

type Usage = MessageInitShape<typeof DiskUsageSchema>;

/** One object: its bytes, and whether something uses it. */
interface Item {
  readonly bytes: number;
  readonly active: boolean;
}

/** The usage of each kind of resource. */
export function diskUsageFromDocker(
  json: DiskUsageJson,
): MessageInitShape<typeof GetDiskUsageResponseSchema> {
  const activeStates = new Set(["running", "paused", "restarting"]);
  const images = (json.Images ?? []).map(({ Size, SharedSize, Containers }) => ({
    bytes: Math.max(Size, 0) - Math.max(SharedSize, 0),
    active: Containers > 0,
  }));
  return {
    images: imageUsage(images, json.LayersSize),
    containers: usage(
      (json.Containers ?? []).map(({ SizeRw = 0, State }) => ({
        bytes: SizeRw,
        active: activeStates.has(State),
      })),
    ),
    volumes: usage(
      (json.Volumes ?? []).map(({ UsageData }) => ({
        bytes: Math.max(UsageData?.Size ?? 0, 0),
        active: (UsageData?.RefCount ?? 0) > 0,
      })),
    ),
    buildCache: usage(
      (json.BuildCache ?? []).map(({ Size, InUse, Shared }) => ({
        bytes: Shared ? 0 : Size,
        active: InUse,
      })),
    ),
  };
}

function usage(items: readonly Item[]): Usage {
  const free = items.filter(({ active }) => !active);
  return {
    count: items.length,
    activeCount: items.length - free.length,
    sizeBytes: sum(items),
    reclaimableBytes: sum(free),
  };
}

/** Layers that images share are counted once, and do not come free with one of them. */
function imageUsage(items: readonly Item[], layersBytes: number): Usage {
  const used = items.filter(({ active }) => active);
  const sizeBytes = BigInt(Math.max(layersBytes, 0));
  return { ...usage(items), sizeBytes, reclaimableBytes: sizeBytes - sum(used) };
}

function sum(items: readonly Item[]): bigint {
  return BigInt(items.reduce((total, { bytes }) => total + bytes, 0));
}

/** Converts limits of block devices between messages and dockerd's HostConfig. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  BlockIo,
  BlockIoRate,
  BlockIoSchema,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import type { BlkioRateJson, HostConfigJson } from "../../json.js";

/** Limits of block devices as dockerd takes them. */
export function blockIoToDocker(blockIo: BlockIo | undefined): HostConfigJson {
  if (blockIo === undefined) return {};
  return {
    ...(blockIo.weight !== undefined && { BlkioWeight: blockIo.weight }),
    BlkioWeightDevice: blockIo.deviceWeights.map(({ devicePath, weight }) => ({
      Path: devicePath,
      Weight: weight,
    })),
    BlkioDeviceReadBps: blockIo.readBytesPerSecond.map(rateToDocker),
    BlkioDeviceWriteBps: blockIo.writeBytesPerSecond.map(rateToDocker),
    BlkioDeviceReadIOps: blockIo.readsPerSecond.map(rateToDocker),
    BlkioDeviceWriteIOps: blockIo.writesPerSecond.map(rateToDocker),
  };
}

function rateToDocker({ devicePath, rate }: BlockIoRate): BlkioRateJson {
  return { Path: devicePath, Rate: Number(rate) };
}

/** Limits of block devices as dockerd reports them. Undefined: there are none. */
export function blockIoFromDocker(
  host: HostConfigJson,
): MessageInitShape<typeof BlockIoSchema> | undefined {
  const rates = (list: readonly BlkioRateJson[] | null | undefined) =>
    (list ?? []).map(({ Path, Rate }) => ({ devicePath: Path, rate: BigInt(Rate) }));
  const lists = {
    deviceWeights: (host.BlkioWeightDevice ?? []).map(({ Path, Weight }) => ({
      devicePath: Path,
      weight: Weight,
    })),
    readBytesPerSecond: rates(host.BlkioDeviceReadBps),
    writeBytesPerSecond: rates(host.BlkioDeviceWriteBps),
    readsPerSecond: rates(host.BlkioDeviceReadIOps),
    writesPerSecond: rates(host.BlkioDeviceWriteIOps),
  };
  const some = host.BlkioWeight || Object.values(lists).some((list) => list.length > 0);
  return some ? { ...(host.BlkioWeight && { weight: host.BlkioWeight }), ...lists } : undefined;
}

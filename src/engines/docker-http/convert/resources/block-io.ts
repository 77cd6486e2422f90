/** Converts limits of block devices between messages and dockerd's HostConfig. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  BlockIo,
  BlockIoByteRate,
  BlockIoOperationRate,
  BlockIoSchema,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import type { BlkioRateJson, HostConfigJson } from "../../json.js";

/** Returns limits of block devices in dockerd's request format. */
export function blockIoToDocker(blockIo: BlockIo | undefined): HostConfigJson {
  if (blockIo === undefined) return {};
  return {
    ...(blockIo.weight !== undefined && { BlkioWeight: blockIo.weight }),
    BlkioWeightDevice: blockIo.deviceWeights.map(({ devicePath, weight }) => ({
      Path: devicePath,
      Weight: weight,
    })),
    BlkioDeviceReadBps: blockIo.readBytesPerSecond.map(bytesToDocker),
    BlkioDeviceWriteBps: blockIo.writeBytesPerSecond.map(bytesToDocker),
    BlkioDeviceReadIOps: blockIo.readsPerSecond.map(operationsToDocker),
    BlkioDeviceWriteIOps: blockIo.writesPerSecond.map(operationsToDocker),
  };
}

function bytesToDocker({ devicePath, bytesPerSecond }: BlockIoByteRate): BlkioRateJson {
  return { Path: devicePath, Rate: Number(bytesPerSecond) };
}

function operationsToDocker(rate: BlockIoOperationRate): BlkioRateJson {
  return { Path: rate.devicePath, Rate: Number(rate.operationsPerSecond) };
}

/** Limits of block devices as dockerd reports them. Undefined: there are none. */
export function blockIoFromDocker(
  host: HostConfigJson,
): MessageInitShape<typeof BlockIoSchema> | undefined {
  const bytes = (list: readonly BlkioRateJson[] | null | undefined) =>
    (list ?? []).map(({ Path, Rate }) => ({ devicePath: Path, bytesPerSecond: BigInt(Rate) }));
  const operations = (list: readonly BlkioRateJson[] | null | undefined) =>
    (list ?? []).map(({ Path, Rate }) => ({ devicePath: Path, operationsPerSecond: BigInt(Rate) }));
  const lists = {
    deviceWeights: (host.BlkioWeightDevice ?? []).map(({ Path, Weight }) => ({
      devicePath: Path,
      weight: Weight,
    })),
    readBytesPerSecond: bytes(host.BlkioDeviceReadBps),
    writeBytesPerSecond: bytes(host.BlkioDeviceWriteBps),
    readsPerSecond: operations(host.BlkioDeviceReadIOps),
    writesPerSecond: operations(host.BlkioDeviceWriteIOps),
  };
  const some = host.BlkioWeight || Object.values(lists).some((list) => list.length > 0);
  return some ? { ...(host.BlkioWeight && { weight: host.BlkioWeight }), ...lists } : undefined;
}

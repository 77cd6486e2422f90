/** Converts changes of a container's limits to dockerd's JSON. */
import type { UpdateContainerRequest } from "../../../../../gen/nap/v1/container_service_pb.js";
import type { Resources } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { fieldError } from "../../../../contract/errors.js";
import type { HostConfigJson } from "../../json.js";
import { restartToDocker } from "./container-spec.js";
import { resourcesToDocker } from "../resources/resources.js";

/**
 * An update as dockerd takes it. It counts memory and swap together, and nap apart: what the request
 * leaves unset of the two is taken from `before`, so that it stays as it is.
 */
export function updateToDocker(request: UpdateContainerRequest, before: HostConfigJson): object {
  const { resources, restartPolicy } = request;
  return {
    ...(resources && resourcesUpdate(resources, before)),
    ...(restartPolicy && { RestartPolicy: restartToDocker(restartPolicy) }),
  };
}

function resourcesUpdate(resources: Resources, before: HostConfigJson): HostConfigJson {
  const { Memory: memoryBefore = 0, MemorySwap: bothBefore = 0 } = before;
  const { memoryLimit, swapLimit } = resources;
  if (memoryLimit.case === "memoryUnlimited" && memoryBefore > 0) {
    refuse("memory_unlimited", "Docker cannot lift a memory limit again");
  }
  const memory = memoryLimit.case === "memoryLimitBytes" ? Number(memoryLimit.value) : memoryBefore;
  const { MemorySwap: _both, ...update } = resourcesToDocker({
    ...resources,
    swapLimit: { case: undefined },
  });
  if (memory === 0 && swapLimit.case === "swapLimitBytes") {
    refuse("swap_limit_bytes", "Docker limits swap only together with memory", "FIELD_INVALID");
  }
  return { ...update, ...bothAfter(swapLimit, memory, memoryBefore, bothBefore) };
}

function bothAfter(
  swapLimit: Resources["swapLimit"],
  memory: number,
  memoryBefore: number,
  bothBefore: number,
): HostConfigJson {
  if (swapLimit.case === "swapUnlimited") return { MemorySwap: -1 };
  if (swapLimit.case === "swapLimitBytes") return { MemorySwap: memory + Number(swapLimit.value) };
  if (memory === memoryBefore || bothBefore === 0) return {};
  return { MemorySwap: bothBefore < 0 ? -1 : memory + (bothBefore - memoryBefore) };
}

function refuse(
  field: string,
  description: string,
  kind: "FIELD_INVALID" | "FIELD_UNSUPPORTED_BY_ENGINE" = "FIELD_UNSUPPORTED_BY_ENGINE",
): never {
  throw fieldError([{ field: `resources.${field}`, description, kind }]);
}

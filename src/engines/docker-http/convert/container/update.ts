/** Converts changes of a container's limits to dockerd's JSON. */
import { create } from "@bufbuild/protobuf";
import type { UpdateContainerRequest } from "../../../../../gen/nap/v1/container_service_pb.js";
import type { Resources } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { ResourcesSchema } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { fieldError } from "../../../../contract/errors.js";
import type { HostConfigJson } from "../../json.js";
import { restartToDocker } from "./container-spec.js";
import { resourcesToDocker } from "../resources/resources.js";

/** The values that clear a field: dockerd's value for none, or its default. */
const cleared: Readonly<Record<string, HostConfigJson>> = {
  restart_policy: { RestartPolicy: { Name: "no", MaximumRetryCount: 0 } },
  "resources.cpu_quota_micros": { CpuQuota: -1 },
  "resources.pids_limit": { PidsLimit: 0 },
  // dockerd takes 0 for unset, which leaves these as they are.
  "resources.cpu_shares": { CpuShares: 1024 },
  "resources.cpu_period_micros": { CpuPeriod: 100_000 },
};

const swapPath = "resources.swap_limit";

/**
 * Returns an update in dockerd's request format. dockerd counts memory and swap together, nap separately:
 * whichever of the two the request does not set is taken from `before`, so that it is unchanged.
 */
export function updateToDocker(request: UpdateContainerRequest, before: HostConfigJson): object {
  const { resources = create(ResourcesSchema), restartPolicy, clear } = request;
  const kept = clear.findIndex((path) => path !== swapPath && !Object.hasOwn(cleared, path));
  if (kept >= 0) refuse(`clear[${kept}]`, `Docker cannot take away ${clear[kept]}`);
  return {
    ...resourcesUpdate(resources, before, clear.includes(swapPath)),
    ...(restartPolicy && { RestartPolicy: restartToDocker(restartPolicy) }),
    ...Object.assign({}, ...clear.map((path) => cleared[path])),
  };
}

function resourcesUpdate(
  resources: Resources,
  before: HostConfigJson,
  clearsSwap: boolean,
): HostConfigJson {
  const { Memory: memoryBefore = 0, MemorySwap: bothBefore = 0 } = before;
  const { memoryLimitBytes, swapLimit } = resources;
  const memory = memoryLimitBytes === undefined ? memoryBefore : Number(memoryLimitBytes);
  const { MemorySwap: _both, ...update } = resourcesToDocker({
    ...resources,
    swapLimit: { case: undefined },
  });
  if (memory === 0 && swapLimit.case === "swapLimitBytes") {
    const description = "Docker limits swap only together with memory";
    refuse("resources.swap_limit_bytes", description, "FIELD_INVALID");
  }
  // dockerd's default is as much swap as memory.
  if (clearsSwap) return { ...update, ...(memory > 0 && { MemorySwap: 2 * memory }) };
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
  reason: "FIELD_INVALID" | "FIELD_UNSUPPORTED" = "FIELD_UNSUPPORTED",
): never {
  throw fieldError([{ field, description, reason }]);
}

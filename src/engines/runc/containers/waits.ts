/** Containers on runC: waiting for them and watching them. */
import type { ContainerService } from "../../../../gen/nap/v1/container_service_pb.js";
import { waitContainer } from "../../../core/containers/wait.js";
import type { Methods } from "../../../core/engine.js";
import { undefinedIf } from "../../../contract/errors.js";
import { containerMatches } from "../../../core/lists/filters.js";
import type { WatchedContainers } from "../../../core/containers/watch.js";
import { watchContainers } from "../../../core/containers/watch.js";
import { currentContainer } from "./containers.js";
import type { RuncContext } from "../context.js";

/** The calls that follow containers by their events. */
export function containerWaits(host: RuncContext) {
  const find = async (key: string) => currentContainer(host, host.store.find(key));
  const watched: WatchedContainers = {
    select: async (filter, among) => {
      const all = await Promise.all(host.store.all.map((stored) => currentContainer(host, stored)));
      const selected = all.filter((container) => containerMatches(container, filter));
      return selected.map(({ id }) => id).filter((id) => among?.includes(id) ?? true);
    },
    load: (id) => undefinedIf("CONTAINER_NOT_FOUND", find(id)),
  };
  return {
    waitContainer: (request, { signal }) => waitContainer(host, find, request, signal),

    watchContainers: (request, { signal }) => watchContainers(host, watched, request, signal),
  } satisfies Methods<typeof ContainerService>;
}

/** Containers on Docker: waiting for them and watching them. */
import type {
  ContainerFilter,
  ContainerService,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { waitContainer } from "../../../core/containers/wait.js";
import type { Methods } from "../../../core/engine.js";
import { undefinedIf } from "../../../contract/errors.js";
import type { WatchedContainers } from "../../../core/containers/watch.js";
import { watchContainers } from "../../../core/containers/watch.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer, listContainers } from "./reads.js";
import { containerFromDocker } from "../../docker-http/convert/container/container.js";
import type { EventFeed } from "../events/feed.js";
import { containerFilters } from "../filters.js";

/** The calls that follow containers by their events. */
export function containerWaits(docker: DockerConnection, feed: EventFeed) {
  const find = async (key: string, signal: AbortSignal) =>
    containerFromDocker(docker.name, await inspectContainer(docker, key, signal));
  const watched: WatchedContainers = {
    select: (filter, among, signal) => selectContainers(docker, filter, among, signal),
    load: (id, signal) => undefinedIf("CONTAINER_NOT_FOUND", find(id, signal)),
  };
  return {
    waitContainer: async function* wait(request, { signal }) {
      yield* waitContainer(await feed.subscribed(signal), find, request, signal);
    },
    watchContainers: async function* watch(request, { signal }) {
      yield* watchContainers(await feed.subscribed(signal), watched, request, signal);
    },
  } satisfies Methods<typeof ContainerService>;
}

/** The ids of the containers that a filter selects: of all, or among those with these full ids. */
async function selectContainers(
  docker: DockerConnection,
  filter: ContainerFilter | undefined,
  among: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (filter === undefined && among !== undefined) return among;
  const wanted = filter?.ids ?? [];
  // dockerd takes several ids for alternatives, so both kinds cannot be asked for together.
  const ids = among?.filter((id) => wanted.length === 0 || wanted.includes(id));
  if (ids?.length === 0) return [];
  const filters = { ...containerFilters(filter), ...(ids && { id: ids }) };
  const list = await listContainers(docker, { all: true, filters }, signal);
  return list.map(({ Id }) => Id);
}

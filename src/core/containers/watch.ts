/**
 * WatchContainers for every engine: the selected containers as they are, then each change. The journal
 * is watched before the list is read, so that nothing falls between the two; several events of one
 * container that wait together become one change. The filter is judged on the container that is sent,
 * since an engine's list may be older than its events.
 */
import { create } from "@bufbuild/protobuf";
import type {
  Container,
  ContainerFilter,
  WatchContainersRequest,
  WatchContainersResponse,
} from "../../../gen/nap/v1/container_service_pb.js";
import { WatchContainersResponseSchema } from "../../../gen/nap/v1/container_service_pb.js";
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import type { EventSource } from "../events/stream.js";
import type { Journal } from "../events/journal.js";
import { mapInParallel } from "../../lib/parallel.js";
import { containerMatchesByItself, engineOnlyFilter } from "../lists/filters.js";

/** An engine's containers as a watcher needs them. */
export interface WatchedContainers {
  /** The ids of those that the engine's list selects: of all, or among these full ids. */
  select(
    filter: ContainerFilter | undefined,
    among: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<readonly string[]>;
  /** A whole container; undefined where it is gone. */
  load(id: string, signal: AbortSignal): Promise<Container | undefined>;
}

/** As many whole containers wait in memory for one client. */
const batchSize = 32;
/** As many changed containers are looked at together. */
const mostChanged = 128;

/** What leaves a container as it was. */
const idleActions: ReadonlySet<EventAction> = new Set([
  EventAction.ATTACH,
  EventAction.DETACH,
  EventAction.EXEC_CREATE,
  EventAction.EXEC_START,
  EventAction.EXEC_DIE,
  EventAction.RESIZE,
  EventAction.TOP,
  EventAction.COMMIT,
  EventAction.ARCHIVE_READ,
  EventAction.ARCHIVE_WRITE,
  EventAction.EXPORT,
]);

/** Streams the selected containers, synced, and each change. Fails with SLOW_CONSUMER. */
export async function* watchContainers(
  { journal }: EventSource,
  containers: WatchedContainers,
  { filter }: WatchContainersRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchContainersResponse> {
  /** The ids of the containers that the client has. */
  const sent = new Set<string>();
  const left = engineOnlyFilter(filter);
  let position = journal.end;
  yield* changes(await containers.select(filter, undefined, signal));
  yield response({ case: "synced", value: { $typeName: "nap.v1.WatchSynced" } });
  for (;;) {
    const changed = new Set<string>();
    position = await collect(journal, position, changed, signal);
    const ids = [...changed];
    if (ids.length === 0) continue;
    const selected = left === undefined ? ids : await containers.select(left, ids, signal);
    yield* changes(ids, new Set(selected));
  }

  async function* changes(
    ids: readonly string[],
    selected: ReadonlySet<string> = new Set(ids),
  ): AsyncGenerator<WatchContainersResponse> {
    for (let at = 0; at < ids.length; at += batchSize) {
      const batch = ids.slice(at, at + batchSize);
      const loaded = await mapInParallel(batch, async (id) =>
        selected.has(id) ? containers.load(id, signal) : undefined,
      );
      for (const [index, id] of batch.entries()) {
        const value = loaded[index];
        if (value !== undefined && containerMatchesByItself(value, filter)) {
          sent.add(id);
          yield response({ case: "container", value });
        } else if (sent.delete(id)) {
          yield response({ case: "removedContainerId", value: id });
        }
      }
    }
  }
}

/** Waits for events and collects whom they have changed; gives the position behind them. */
async function collect(
  journal: Journal,
  from: number,
  changed: Set<string>,
  signal: AbortSignal,
): Promise<number> {
  let { events, position } = await journal.next(from, signal);
  for (;;) {
    for (const event of events) {
      const id = changedContainer(event);
      if (id !== undefined) changed.add(id);
    }
    if (position === journal.end || changed.size >= mostChanged) return position;
    ({ events, position } = journal.after(position));
  }
}

function changedContainer({ resource, action, resourceId, attributes }: Event): string | undefined {
  if (resource === EventResource.CONTAINER) return idleActions.has(action) ? undefined : resourceId;
  const attached = action === EventAction.CONNECT || action === EventAction.DISCONNECT;
  return resource === EventResource.NETWORK && attached ? attributes["container"] : undefined;
}

function response(event: WatchContainersResponse["event"]): WatchContainersResponse {
  return create(WatchContainersResponseSchema, { event });
}

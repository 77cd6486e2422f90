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
import {
  ContainerRemovedSchema,
  WatchContainersResponseSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import { StreamReadySchema } from "../../../gen/nap/v1/types_pb.js";
import { NapError } from "../../contract/errors.js";
import { decodeCursor, encodeCursor } from "../events/cursor.js";
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
  EventAction.EXEC_EXIT,
  EventAction.RESIZE,
  EventAction.LIST_PROCESSES,
  EventAction.COMMIT,
  EventAction.ARCHIVE_READ,
  EventAction.ARCHIVE_WRITE,
  EventAction.EXPORT,
]);

/**
 * Streams the selected containers, synced, and each change; with a cursor only what has changed since.
 * Fails with CURSOR_INVALID, CURSOR_EXPIRED, and SLOW_CONSUMER with the last cursor.
 */
export async function* watchContainers(
  { engine, journal }: EventSource,
  containers: WatchedContainers,
  { filter, cursor: given }: WatchContainersRequest,
  signal: AbortSignal,
): AsyncGenerator<WatchContainersResponse> {
  /** The names of the containers that the client has, by id. */
  const sent = new Map<string, string>();
  /** With a cursor the client may have containers that were sent in an earlier stream. */
  const resumed = given !== "";
  const engineOnly = engineOnlyFilter(filter);
  const synced = { case: "synced", value: { $typeName: "nap.v1.WatchSynced" } } as const;
  const beginning = resumed ? decodeCursor(journal, engine, given) : undefined;
  let position = beginning?.position ?? journal.end;
  let cursor = given;
  yield response({ case: "ready", value: create(StreamReadySchema, { engine }) }, cursor);
  if (beginning === undefined) {
    const ids = await containers.select(filter, undefined, signal);
    for await (const event of changes(ids, new Set(ids))) yield response(event, "");
  } else {
    const changed = new Set<string>();
    const { end } = journal;
    while (position < end) {
      const chunk = journal.after(position);
      ({ position } = chunk);
      collectChanged(chunk.events.filter(beginning.unread), changed);
    }
    yield* changesOf([...changed]);
  }
  cursor = encodeCursor(journal, engine, position);
  yield response(synced, cursor);
  try {
    for (;;) {
      const changed = new Set<string>();
      position = await collect(journal, position, changed, signal);
      if (changed.size > 0) yield* changesOf([...changed]);
    }
  } catch (error) {
    if (!(error instanceof NapError) || error.kind !== "SLOW_CONSUMER") throw error;
    throw new NapError("SLOW_CONSUMER", error.message, { cursor }, error);
  }

  /** The changes of containers that events have named; the last one has the cursor behind them all. */
  async function* changesOf(ids: readonly string[]): AsyncGenerator<WatchContainersResponse> {
    const selected = engineOnly && (await containers.select(engineOnly, ids, signal));
    let before: WatchEvent | undefined;
    for await (const event of changes(ids, new Set(selected ?? ids))) {
      if (before !== undefined) yield response(before, cursor);
      before = event;
    }
    cursor = encodeCursor(journal, engine, position);
    if (before !== undefined) yield response(before, cursor);
  }

  async function* changes(
    ids: readonly string[],
    selected: ReadonlySet<string>,
  ): AsyncGenerator<WatchEvent> {
    for (let at = 0; at < ids.length; at += batchSize) {
      const batch = ids.slice(at, at + batchSize);
      const loaded = await mapInParallel(batch, async (id) =>
        selected.has(id) ? containers.load(id, signal) : undefined,
      );
      for (const [index, containerId] of batch.entries()) {
        const value = loaded[index];
        const name = sent.get(containerId);
        if (value !== undefined && containerMatchesByItself(value, filter)) {
          sent.set(containerId, value.name);
          yield { case: "container", value };
        } else if (name !== undefined || resumed) {
          sent.delete(containerId);
          const removed = { engine, containerId, ...(name !== undefined && { name }) };
          yield { case: "removed", value: create(ContainerRemovedSchema, removed) };
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
    collectChanged(events, changed);
    if (position === journal.end || changed.size >= mostChanged) return position;
    ({ events, position } = journal.after(position));
  }
}

function collectChanged(events: readonly Event[], changed: Set<string>): void {
  for (const event of events) {
    const id = changedContainer(event);
    if (id !== undefined) changed.add(id);
  }
}

function changedContainer({ resource, action, resourceId, details }: Event): string | undefined {
  if (resource === EventResource.CONTAINER) return idleActions.has(action) ? undefined : resourceId;
  const attached = action === EventAction.CONNECT || action === EventAction.DISCONNECT;
  if (resource !== EventResource.NETWORK || !attached) return undefined;
  return details.case === "member" ? details.value.containerId : undefined;
}

type WatchEvent = NonNullable<WatchContainersResponse["event"]>;

function response(event: WatchEvent, cursor: string): WatchContainersResponse {
  return create(WatchContainersResponseSchema, { event, cursor });
}

/**
 * WatchContainers for every engine: the selected containers as they are, then each change. Watching the
 * journal begins before the list is read, so no change is missed in between. Several pending events of one
 * container become one change. The filter is applied to the container that is sent, since an engine's list
 * may be older than its events.
 */
import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import type {
  Container,
  ContainerFilter,
  WatchContainersRequest,
  WatchContainersResponse,
} from "../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerFilterSchema,
  ContainerRemovedSchema,
  WatchContainersResponseSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import { StreamReadySchema } from "../../../gen/nap/v1/types_pb.js";
import { NapError } from "../../contract/errors.js";
import type { StartPosition } from "../events/cursor.js";
import { decodeCursor, encodeCursor, invalidCursor } from "../events/cursor.js";
import type { EventSource } from "../events/stream.js";
import type { Journal } from "../events/journal.js";
import { mapInParallel } from "../../lib/parallel.js";
import { containerMatchesByItself, engineOnlyFilter } from "../lists/filters.js";

/** The operations on an engine's containers that WatchContainers needs. */
export interface WatchedContainers {
  /** Returns the ids of the containers that the engine's list selects: of all, or among these full ids. */
  select(
    filter: ContainerFilter | undefined,
    among: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<readonly string[]>;
  /** Returns a whole container, or undefined if it has been removed. */
  load(id: string, signal: AbortSignal): Promise<Container | undefined>;
}

/** The maximum number of whole containers kept in memory for one client. */
const batchSize = 32;
/** The maximum number of changed containers that are loaded together. */
const mostChanged = 128;

/** The actions that do not change a container. */
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
  /** The names of the containers that have been sent to the client, by id. */
  const sent = new Map<string, string>();
  /** With a cursor the client may have containers that were sent in an earlier stream. */
  const resumed = given !== "";
  const engineOnly = engineOnlyFilter(filter);
  const synced = { case: "synced", value: { $typeName: "nap.v1.WatchSynced" } } as const;
  const selection = filterDigest(filter);
  const beginning = resumed ? resume(journal, engine, selection, given) : undefined;
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
  cursor = `${selection}.${encodeCursor(journal, engine, position)}`;
  yield response(synced, cursor);
  try {
    for (;;) {
      const changed = new Set<string>();
      position = await collect(journal, position, changed, signal);
      if (changed.size > 0) yield* changesOf([...changed]);
    }
  } catch (error) {
    if (!(error instanceof NapError) || error.reason !== "SLOW_CONSUMER") throw error;
    throw new NapError("SLOW_CONSUMER", error.message, { cursor }, error);
  }

  /**
   * Yields the changes of the containers with these ids; the last one has the cursor after all of them.
   */
  async function* changesOf(ids: readonly string[]): AsyncGenerator<WatchContainersResponse> {
    const selected = engineOnly && (await containers.select(engineOnly, ids, signal));
    let before: WatchEvent | undefined;
    for await (const event of changes(ids, new Set(selected ?? ids))) {
      if (before !== undefined) yield response(before, cursor);
      before = event;
    }
    cursor = `${selection}.${encodeCursor(journal, engine, position)}`;
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

/**
 * Waits for events and collects the ids of the containers that they changed; returns the position after
 * them.
 */
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

/** Returns a digest of a filter, by which a cursor is known to be of another one. */
function filterDigest(filter: ContainerFilter | undefined): string {
  const bytes = filter === undefined ? "" : toBinary(ContainerFilterSchema, filter);
  return createHash("sha256").update(bytes).digest("base64url").slice(0, 11);
}

/** Returns where a resumed watch starts. Fails with CURSOR_INVALID and CURSOR_EXPIRED. */
function resume(
  journal: Journal,
  engine: string,
  selection: string,
  cursor: string,
): StartPosition {
  const [digest = "", events] = cursor.split(".");
  if (events === undefined) throw invalidCursor("is not a cursor of WatchContainers");
  if (digest !== selection) throw invalidCursor("is a cursor of another filter");
  return decodeCursor(journal, engine, events);
}

type WatchEvent = NonNullable<WatchContainersResponse["event"]>;

function response(event: WatchEvent, cursor: string): WatchContainersResponse {
  return create(WatchContainersResponseSchema, { event, cursor });
}

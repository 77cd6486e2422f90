/**
 * StreamEvents for every engine: the stored and the new events of its journal, filtered, each batch with a
 * cursor.
 */
import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  Event,
  StreamEventsRequest,
  StreamEventsResponse,
} from "../../../gen/nap/v1/engine_service_pb.js";
import {
  EventBatchSchema,
  StreamEventsResponseSchema,
} from "../../../gen/nap/v1/engine_service_pb.js";
import type { Call } from "../engine.js";
import { fieldError, NapError } from "../../contract/errors.js";
import type { StartPosition } from "./cursor.js";
import { decodeCursor, encodeCursor } from "./cursor.js";
import type { ExitCache } from "./exit-cache.js";
import type { Journal } from "./journal.js";
import { compareTimes, eventMatches } from "../lists/filters.js";
import { waitUntil } from "../../lib/sleep.js";

/** The events of an engine. Once it is subscribed, new events are appended to the journal. */
export interface EventSource {
  /** The engine's name. */
  readonly engine: string;
  readonly journal: Journal;
  /** The exits of its containers, recorded from its events. */
  readonly exits: ExitCache;
  /** How far the engine's clock is ahead of ours, in milliseconds. */
  readonly clockOffsetMillis: number;
  /** Resolves when all events that have happened until now are in the journal. */
  flushed(signal: AbortSignal): Promise<void>;
}

/** A stream whose filter selects few events gets a new cursor after this number of events. */
const cursorEvery = 2048;

/**
 * Streams events. The first message, `ready`, comes at once and has the cursor at which the stream begins.
 * Fails with CURSOR_INVALID, CURSOR_EXPIRED, and SLOW_CONSUMER with the last cursor.
 */
export async function* streamEvents(
  source: EventSource,
  request: StreamEventsRequest,
  { signal }: Call,
): AsyncGenerator<StreamEventsResponse> {
  const { engine, journal } = source;
  const { until, filter } = request;
  const { position: start, unread } = beginning(source, request);
  const wanted = (event: Event): boolean =>
    unread(event) &&
    eventMatches(event, filter) &&
    (until === undefined || !event.time || compareTimes(event.time, until) <= 0);
  let position = start;
  // After a restart of the server only the client's cursor holds which events it has read.
  let cursor = request.cursor || encodeCursor(journal, engine, position);
  yield create(StreamEventsResponseSchema, { event: { case: "ready", value: { engine } }, cursor });
  let cursorPosition = position;
  const stopped = new AbortController();
  const deadline = new AbortController();
  const timer =
    until && abortAt(timestampMs(until) - source.clockOffsetMillis, deadline, stopped.signal);
  const ended = AbortSignal.any([signal, deadline.signal]);
  let end = Infinity;
  try {
    while (position < end) {
      const chunk = deadline.signal.aborted
        ? journal.after(position)
        : await journal.next(position, ended).catch(rethrowUnlessPassed(deadline.signal, signal));
      if (deadline.signal.aborted && end === Infinity) {
        await source.flushed(signal);
        end = journal.end;
      }
      position = chunk?.position ?? position;
      const events = chunk?.events.filter(wanted) ?? [];
      if (events.length === 0 && position - cursorPosition < cursorEvery) continue;
      cursor = encodeCursor(journal, engine, position);
      cursorPosition = position;
      const event = { case: "batch", value: create(EventBatchSchema, { events }) } as const;
      yield create(StreamEventsResponseSchema, { event, cursor });
    }
  } catch (error) {
    if (!(error instanceof NapError) || error.reason !== "SLOW_CONSUMER") throw error;
    throw new NapError("SLOW_CONSUMER", error.message, { cursor }, error);
  } finally {
    stopped.abort();
    await timer;
  }
}

/** Aborts `deadline` at `epochMillis`, unless the stream has stopped before. */
async function abortAt(
  epochMillis: number,
  deadline: AbortController,
  stopped: AbortSignal,
): Promise<void> {
  try {
    // The clock has whole milliseconds, and events within the last one are still selected.
    await waitUntil(epochMillis + 1, stopped);
    deadline.abort();
  } catch (error) {
    if (!stopped.aborted) throw error;
  }
}

/** Turns the abort by the deadline into a result without events; other errors are thrown again. */
function rethrowUnlessPassed(
  deadline: AbortSignal,
  signal: AbortSignal,
): (error: unknown) => undefined {
  return (error) => {
    if (signal.aborted || !deadline.aborted) throw error;
  };
}

function beginning(
  { engine, journal }: EventSource,
  { since, cursor }: StreamEventsRequest,
): StartPosition {
  if (cursor !== "" && since !== undefined) {
    const description = "must be unset where a cursor is given";
    throw fieldError([{ field: "since", description, reason: "FIELD_INVALID" }]);
  }
  if (cursor !== "") return decodeCursor(journal, engine, cursor);
  if (since === undefined) return { position: journal.end, unread: () => true };
  const unread = ({ time }: Event): boolean => !time || compareTimes(time, since) >= 0;
  return { position: journal.since(since), unread };
}

/**
 * Cursors of event streams. They are opaque to clients. A cursor holds the reader's position in a journal
 * and, for the case that nap was restarted and the journal is gone, the last of the engine's own events
 * that the reader has received.
 */
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { NapError } from "../../contract/errors.js";
import type { Journal } from "./journal.js";
import { identityOf } from "./journal.js";
import { timestampNanos } from "../../lib/time.js";

/**
 * A cursor lists the ids of the last 16 events, because engines may report events a few milliseconds out
 * of order.
 */
const namedEvents = 16;
/** It also lists older events with the same timestamp, at most 128, to bound its length. */
const mostNamed = 128;
const version = 1;

interface Cursor {
  readonly version: number;
  readonly engine: string;
  readonly epoch: string;
  readonly position: number;
  /** All of the engine's own events before this time have been read; in nanoseconds since 1970. */
  readonly time: string;
  /** The ids of the events of this time or later that have been read. */
  readonly read: readonly string[];
}

/** The position at which a reader begins, and the test for events that it has not received yet. */
export interface StartPosition {
  readonly position: number;
  readonly unread: (event: Event) => boolean;
}

/** Returns the cursor of a reader at `position`. */
export function encodeCursor(journal: Journal, engine: string, position: number): string {
  const own = journal.lastBefore(position, mostNamed);
  const times = own.slice(0, namedEvents).map(({ event }) => timeOf(event));
  const since = times.reduce((a, b) => (b < a ? b : a), times[0] ?? 0n);
  const read = own.filter(({ event }) => timeOf(event) >= since).map(({ identity }) => identity);
  const time = since.toString();
  const cursor: Cursor = { version, engine, epoch: journal.epoch, position, time, read };
  return Buffer.from(JSON.stringify(cursor)).toString("base64url");
}

/**
 * Returns where a reader with this cursor continues. Fails with CURSOR_INVALID if it is not a cursor of
 * this engine, and with CURSOR_EXPIRED if events after it may have been evicted.
 */
export function decodeCursor(journal: Journal, engine: string, text: string): StartPosition {
  const cursor = parse(text);
  if (cursor === undefined) throw invalidCursor("is not a cursor that this server gave");
  if (cursor.engine !== engine) throw invalidCursor(`is a cursor of the engine ${cursor.engine}`);
  if (cursor.epoch === journal.epoch) {
    if (cursor.position > journal.end) throw invalidCursor("is not a cursor that this server gave");
    if (cursor.position < journal.first) throw expired("the events behind it are forgotten");
    return { position: cursor.position, unread: () => true };
  }
  // A position of another journal is meaningless here, but the events that the engine itself stores may
  // suffice.
  const time = BigInt(cursor.time);
  const oldest = journal.oldest();
  const read = new Set(cursor.read);
  const reachesBack =
    oldest !== undefined &&
    (timeOf(oldest) < time || (timeOf(oldest) === time && read.has(identityOf(oldest))));
  if (time === 0n || !reachesBack) {
    throw expired("the server was restarted, and the engine no longer has all events behind it");
  }
  const unread = (event: Event): boolean =>
    event.synthetic || (timeOf(event) >= time && !read.has(identityOf(event)));
  return { position: journal.first, unread };
}

function parse(text: string): Cursor | undefined {
  try {
    const value = JSON.parse(Buffer.from(text, "base64url").toString()) as Partial<Cursor> | null;
    const whole =
      value?.version === version &&
      typeof value.engine === "string" &&
      typeof value.epoch === "string" &&
      Number.isSafeInteger(value.position) &&
      (value.position ?? -1) >= 0 &&
      /^\d{1,19}$/.test(value.time ?? "") &&
      Array.isArray(value.read);
    return whole ? (value as Cursor) : undefined;
  } catch {
    // The text is not a cursor.
    return undefined;
  }
}

function timeOf({ time }: Event): bigint {
  return time === undefined ? 0n : timestampNanos(time);
}

/** Returns the error for a cursor that cannot be used here. */
export function invalidCursor(what: string): NapError {
  const violations = [{ field: "cursor", description: what, reason: "FIELD_INVALID" } as const];
  return new NapError("CURSOR_INVALID", `cursor: ${what}`, { violations });
}

function expired(why: string): NapError {
  return new NapError("CURSOR_EXPIRED", `the cursor is too old: ${why}`);
}

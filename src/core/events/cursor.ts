/**
 * Cursors of event streams: opaque to clients, they say where in a journal a reader stands, and for a
 * journal that is gone (nap was restarted) which of the engine's own events the reader has had.
 */
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { NapError } from "../../contract/errors.js";
import type { Journal } from "./journal.js";
import { identityOf } from "./journal.js";
import { timestampNanos } from "../../lib/time.js";

/** A cursor names as many of the last events: engines report events out of order by milliseconds. */
const namedEvents = 16;
/** And of those before them the ones that are no earlier; with more, a cursor would be too long. */
const mostNamed = 128;
const version = 1;

interface Cursor {
  readonly version: number;
  readonly engine: string;
  readonly epoch: string;
  readonly position: number;
  /** All of the engine's own events before this time have been read; in nanoseconds since 1970. */
  readonly time: string;
  /** Those of this time or later that have been read. */
  readonly read: readonly string[];
}

/** Where a reader begins, and which of the events from there on it has not had yet. */
export interface StartPosition {
  readonly position: number;
  readonly unread: (event: Event) => boolean;
}

/** The cursor of a reader that stands at a position. */
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
 * Where the reader that a cursor was given to goes on. Fails with CURSOR_INVALID where it is none of
 * this engine, and with CURSOR_EXPIRED where events behind it may be forgotten.
 */
export function decodeCursor(journal: Journal, engine: string, text: string): StartPosition {
  const cursor = parse(text);
  if (cursor === undefined) throw invalid("is not a cursor that this server gave");
  if (cursor.engine !== engine) throw invalid(`is a cursor of the engine ${cursor.engine}`);
  if (cursor.epoch === journal.epoch) {
    if (cursor.position > journal.end) throw invalid("is not a cursor that this server gave");
    if (cursor.position < journal.first) throw expired("the events behind it are forgotten");
    return { position: cursor.position, unread: () => true };
  }
  // Another journal's positions mean nothing here; what the engine itself remembers may suffice.
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
    // Whatever it is, it is no cursor.
    return undefined;
  }
}

function timeOf({ time }: Event): bigint {
  return time === undefined ? 0n : timestampNanos(time);
}

function invalid(what: string): NapError {
  const violations = [{ field: "cursor", description: what, reason: "FIELD_INVALID" } as const];
  return new NapError("CURSOR_INVALID", `cursor: ${what}`, { violations });
}

function expired(why: string): NapError {
  return new NapError("CURSOR_EXPIRED", `the cursor is too old: ${why}`);
}

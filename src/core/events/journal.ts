/**
 * A bounded buffer of one engine's events. Readers hold a position in it, so any number of them share one
 * buffer. A reader that falls behind gets an error; events are never skipped silently.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventSchema } from "../../../gen/nap/v1/engine_service_pb.js";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { toBinary } from "@bufbuild/protobuf";
import { NapError } from "../../contract/errors.js";
import { compareTimes } from "../lists/filters.js";

/** The size of the buffer, which serves replays and readers that fall behind. */
interface Bounds {
  readonly events: number;
  /** The size of the encoded messages; in memory they are a few times as large. */
  readonly bytes: number;
}

const defaultBounds: Bounds = { events: 16_384, bytes: 8 * 1024 * 1024 };
/** The maximum size of the events in one chunk, so that no response is larger than 1 MiB. */
const chunkBytes = 256 * 1024;

/** The number of evicted event ids kept to detect duplicates. */
const maxEvictedIds = 1024;

/** An event in the buffer. */
export interface Entry {
  readonly event: Event;
  readonly identity: string;
  readonly bytes: number;
}

/** Consecutive events, and the position after the last one. */
export interface Chunk {
  readonly events: readonly Event[];
  readonly position: number;
}

/** The events of one engine in the order in which they were reported, numbered from 0. */
export class Journal {
  /** Identifies this journal; a journal of the same engine before a restart has another epoch. */
  readonly epoch = randomBytes(9).toString("base64url");
  readonly #bounds: Bounds;
  readonly #entries: Entry[] = [];
  /** The number of entries by identity. Synthetic events may have the same identity. */
  readonly #identities = new Map<string, number>();
  /** The identities of the last evicted events, which an engine may report again. */
  readonly #evicted: string[] = [];
  readonly #waiting = new Set<() => void>();
  #bytes = 0;
  #first = 0;

  constructor(bounds = defaultBounds) {
    this.#bounds = bounds;
  }

  /** The position of the oldest event in the buffer. */
  get first(): number {
    return this.#first;
  }

  /** The position after the last event. */
  get end(): number {
    return this.#first + this.#entries.length;
  }

  /** Appends an event and wakes all readers. */
  append(event: Event): void {
    const bytes = toBinary(EventSchema, event).length;
    const identity = identityOf(event);
    this.#entries.push({ event, identity, bytes });
    this.#count(identity, 1);
    this.#bytes += bytes;
    while (this.#entries.length > this.#bounds.events || this.#bytes > this.#bounds.bytes) {
      const oldest = this.#entries.shift();
      if (oldest === undefined) break;
      this.#evicted.push(oldest.identity);
      this.#bytes -= oldest.bytes;
      this.#first++;
    }
    const excess = Math.max(0, this.#evicted.length - maxEvictedIds);
    for (const evicted of this.#evicted.splice(0, excess)) this.#count(evicted, -1);
    for (const wake of this.#waiting) wake();
  }

  /** Returns whether an event of this identity is in the buffer or was evicted recently. */
  holds(identity: string): boolean {
    return this.#identities.has(identity);
  }

  /** Returns the events after a position that are in the buffer now. Fails with SLOW_CONSUMER. */
  after(position: number): Chunk {
    if (position < this.#first) {
      const message = "the client reads too slowly: the events that it has not read are forgotten";
      throw new NapError("SLOW_CONSUMER", message);
    }
    const events: Event[] = [];
    let bytes = 0;
    for (let at = position - this.#first; at < this.#entries.length && bytes < chunkBytes; at++) {
      const entry = this.#entries[at] as Entry;
      events.push(entry.event);
      bytes += entry.bytes;
    }
    return { events, position: position + events.length };
  }

  /**
   * Waits until there are events after a position, and returns them. Fails with SLOW_CONSUMER and on
   * abort.
   */
  async next(position: number, signal: AbortSignal): Promise<Chunk> {
    while (position === this.end) await this.#change(signal);
    return this.after(position);
  }

  /** Returns the position of the first event of this time or later. */
  since(time: Timestamp): number {
    const found = this.#entries.findIndex(
      ({ event }) => event.time !== undefined && compareTimes(event.time, time) >= 0,
    );
    return found < 0 ? this.end : this.#first + found;
  }

  /** Returns the oldest event in the buffer that the engine itself reported. */
  oldest(): Event | undefined {
    return this.#entries.find(({ event }) => !event.synthetic)?.event;
  }

  /** Returns the last events before a position that the engine itself reported, at most `count`. */
  lastBefore(position: number, count: number): Entry[] {
    const found: Entry[] = [];
    for (let at = position - this.#first - 1; at >= 0 && found.length < count; at--) {
      const entry = this.#entries[at] as Entry;
      if (!entry.event.synthetic) found.push(entry);
    }
    return found;
  }

  #count(identity: string, more: 1 | -1): void {
    const count = (this.#identities.get(identity) ?? 0) + more;
    if (count > 0) this.#identities.set(identity, count);
    else this.#identities.delete(identity);
  }

  /** Resolves at the next event. Rejects on abort. */
  async #change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        if (signal.aborted) reject(signal.reason as Error);
        else resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}

/** Returns the identity of an event, which is the same when the engine reports the event again. */
export function identityOf(event: Event): string {
  const { time, resource, engineAction, resourceId, attributes } = event;
  const at = time === undefined ? "" : `${time.seconds}.${time.nanos}`;
  const text = JSON.stringify([at, resource, engineAction, resourceId, attributes]);
  return createHash("sha256").update(text).digest("base64url").slice(0, 12);
}

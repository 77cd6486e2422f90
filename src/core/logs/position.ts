/**
 * The position of a reader in a container's log, from which it can continue exactly, however often it
 * reconnects.
 *
 * Within one stream the order of an engine's log is exact; between two it is the engine's own. So there is a
 * position for each stream: the greatest time delivered (its anchor) and the number of entries of that very
 * time, since the parts of a long line share one. Entries behind the anchor with lower times, as a clock
 * that steps back makes them, are counted too.
 */
import type { LogEntry } from "../../../gen/nap/v1/container_service_pb.js";
import type { OutputStream } from "../../../gen/nap/v1/types_pb.js";
import { timestampNanos } from "../../lib/time.js";

/** A position in one stream. */
export interface StreamPosition {
  /**
   * The greatest time delivered; with a count of 0 the time to begin at; -1 for the beginning of the log.
   */
  readonly nanos: bigint;
  /** The number of entries of exactly that time that have been delivered. */
  readonly count: number;
  /** The number of entries delivered after these with an earlier timestamp. */
  readonly behind: number;
  /** The lowest of those earlier timestamps; the same as `nanos` if there are none. */
  readonly floor: bigint;
}

/** The positions in all streams that a reader has selected. */
export type LogPositions = ReadonlyMap<OutputStream, StreamPosition>;

/** Returns the position before all entries from a time on. */
export function positionAt(nanos: bigint): StreamPosition {
  return { nanos, count: 0, behind: 0, floor: nanos };
}

/** Returns the position after one more entry. */
export function behindEntry(position: StreamPosition, nanos: bigint): StreamPosition {
  if (nanos > position.nanos) return { nanos, count: 1, behind: 0, floor: nanos };
  const { count, behind, floor } = position;
  if (nanos === position.nanos && behind === 0) return { ...position, count: count + 1 };
  return { ...position, behind: behind + 1, floor: nanos < floor ? nanos : floor };
}

/** An entry that has not been delivered before, or the time span of a gap of lost entries. */
export type LogDelta =
  | { readonly kind: "entry"; readonly entry: LogEntry; readonly nanos: bigint }
  | { readonly kind: "gap"; readonly fromNanos: bigint; readonly toNanos: bigint };

/** How far a pass over the log has come in one stream. */
interface Pass {
  seen: number;
  skipped: number;
}

/** Follows one reader through any number of passes over a log. */
export class LogReader {
  readonly #positions: Map<OutputStream, StreamPosition>;
  readonly #passes = new Map<OutputStream, Pass>();
  /** True if this pass has reached an entry that was delivered before, or need not reach one. */
  #joined = true;

  constructor(positions: LogPositions) {
    this.#positions = new Map(positions);
  }

  get positions(): LogPositions {
    return this.#positions;
  }

  /** The time at which the next pass must begin, or an earlier one; -1 for the beginning of the log. */
  get sinceNanos(): bigint {
    const floors = [...this.#positions.values()].map(({ floor }) => floor);
    return floors.reduce((least, floor) => (floor < least ? floor : least));
  }

  /** The lowest anchor of all streams; undefined if nothing has been delivered. */
  get anchorNanos(): bigint | undefined {
    const anchors = [...this.#positions.values()].filter(({ count }) => count > 0);
    if (anchors.length === 0) return undefined;
    return anchors.reduce((least, { nanos }) => (nanos < least ? nanos : least), anchors[0]!.nanos);
  }

  /** True if the last delivered entry is no longer in the log (rotated away). */
  get positionLost(): boolean {
    return !this.#joined;
  }

  /** Begins a new pass over the log, from {@link sinceNanos} on or from earlier. */
  begin(): void {
    this.#passes.clear();
    this.#joined = this.anchorNanos === undefined;
  }

  /** Yields those of the entries that have not been delivered yet, in their order. */
  *take(entries: readonly LogEntry[]): Generator<LogDelta> {
    for (const entry of entries) {
      const position = this.#positions.get(entry.stream);
      if (position === undefined || entry.time === undefined) continue;
      const nanos = timestampNanos(entry.time);
      if (this.#isOld(entry.stream, position, nanos)) {
        if (position.count > 0) this.#joined = true;
        continue;
      }
      // A pass yields entries in the order of delivery: if its first entry is new, the entries before it
      // are lost.
      if (!this.#joined) {
        yield { kind: "gap", fromNanos: this.anchorNanos ?? nanos, toNanos: nanos };
        this.#joined = true;
      }
      // The position advances only once the reader has taken the entry.
      yield { kind: "entry", entry, nanos };
      this.#advance(entry.stream, position, nanos);
    }
  }

  #isOld(stream: OutputStream, { nanos: anchor, count, behind }: StreamPosition, nanos: bigint) {
    const pass = this.#passOf(stream);
    if (nanos > anchor) return false;
    if (pass.seen < count) {
      if (nanos === anchor) pass.seen++;
      return true;
    }
    if (pass.skipped < behind) {
      pass.skipped++;
      return true;
    }
    return count === 0 && nanos < anchor;
  }

  #advance(stream: OutputStream, position: StreamPosition, nanos: bigint): void {
    const next = behindEntry(position, nanos);
    this.#positions.set(stream, next);
    const pass = this.#passOf(stream);
    pass.seen = next.count;
    pass.skipped = next.behind;
  }

  #passOf(stream: OutputStream): Pass {
    let pass = this.#passes.get(stream);
    if (pass === undefined) this.#passes.set(stream, (pass = { seen: 0, skipped: 0 }));
    return pass;
  }
}

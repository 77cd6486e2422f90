/** Finds the position at which the last entries of a log begin. */
import type { LogEntry } from "../../../gen/nap/v1/container_service_pb.js";
import type { OutputStream } from "../../../gen/nap/v1/types_pb.js";
import type { LogPositions, StreamPosition } from "./position.js";
import { behindEntry, positionAt } from "./position.js";
import { timestampNanos } from "../../lib/time.js";

/** Reads the given number of last entries of a log, of both streams together. */
export type ReadLast = (entries: number) => AsyncIterable<readonly LogEntry[]>;

/**
 * The number of entries read before the tail, to find entries with the same timestamp as the first of the
 * tail.
 */
const marginEntries = 256;
/** The factor by which more entries are read each time too few of them are of the selected streams. */
const growth = 8;

/**
 * Returns the positions before the last `wanted` entries of these streams. Keeps the times of `wanted`
 * entries in memory.
 */
export async function positionsBeforeLast(
  wanted: number,
  streams: ReadonlySet<OutputStream>,
  readLast: ReadLast,
): Promise<LogPositions> {
  for (let window = wanted + marginEntries; ; window *= growth) {
    const tail = new Tail(wanted, streams);
    let read = 0;
    for await (const entries of readLast(window)) {
      read += entries.length;
      for (const entry of entries) tail.add(entry);
    }
    const isWhole = read < window;
    if (isWhole || tail.isFull) return tail.positions(isWhole);
  }
}

/** The last entries of some streams, and the entries just before them. */
class Tail {
  readonly #wanted: number;
  readonly #streams: ReadonlySet<OutputStream>;
  readonly #kept: { readonly stream: OutputStream; readonly nanos: bigint }[] = [];
  readonly #before = new Map<OutputStream, StreamPosition>();
  #oldest = 0;
  #firstNanos: bigint | undefined;

  constructor(wanted: number, streams: ReadonlySet<OutputStream>) {
    this.#wanted = wanted;
    this.#streams = streams;
  }

  get isFull(): boolean {
    return this.#kept.length === this.#wanted;
  }

  add({ stream, time }: LogEntry): void {
    if (time === undefined) return;
    const nanos = timestampNanos(time);
    this.#firstNanos ??= nanos;
    if (!this.#streams.has(stream)) return;
    const entry = { stream, nanos };
    if (!this.isFull) {
      this.#kept.push(entry);
      return;
    }
    const left = this.#wanted === 0 ? entry : this.#kept[this.#oldest]!;
    if (this.#wanted > 0) this.#kept[this.#oldest] = entry;
    this.#oldest = this.#wanted === 0 ? 0 : (this.#oldest + 1) % this.#wanted;
    const position = this.#before.get(left.stream) ?? positionAt(-1n);
    this.#before.set(left.stream, behindEntry(position, left.nanos));
  }

  /** If a stream has no earlier entry, everything read belongs to the tail. */
  positions(isWhole: boolean): LogPositions {
    const beginning = positionAt(isWhole ? -1n : (this.#firstNanos ?? -1n));
    return new Map([...this.#streams].map((each) => [each, this.#before.get(each) ?? beginning]));
  }
}

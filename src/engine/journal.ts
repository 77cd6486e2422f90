/** A bounded memory of events, for engines that report none themselves. */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../gen/nap/v1/engine_service_pb.js";
import { NapError } from "./error.js";
import { compareTimes } from "./selection.js";

/** As many events are remembered, for replays and for readers that fall behind. */
const capacity = 4096;

/** Events in the order in which they happened, numbered from 0. */
export class Journal {
  readonly #events: Event[] = [];
  readonly #waiting = new Set<() => void>();
  /** The number of the first event still remembered. */
  #first = 0;

  /** Appends an event and wakes all readers. */
  append(event: Event): void {
    this.#events.push(event);
    if (this.#events.length > capacity) {
      this.#events.shift();
      this.#first++;
    }
    for (const wake of this.#waiting) wake();
  }

  /**
   * Yields the events since a time, or from now on, until the signal aborts; it then returns. Fails
   * with SLOW_CONSUMER where the reader falls behind what is remembered.
   */
  async *read(since: Timestamp | undefined, signal: AbortSignal): AsyncGenerator<Event[]> {
    let next = since === undefined ? this.#end : this.#first;
    for (;;) {
      if (next < this.#first) {
        throw new NapError("SLOW_CONSUMER", `the client reads too slowly: ${capacity} events wait`);
      }
      const fresh = this.#events.slice(next - this.#first);
      next = this.#end;
      const wanted = fresh.filter(({ time }) => !since || !time || compareTimes(time, since) >= 0);
      if (wanted.length > 0) yield wanted;
      if (signal.aborted) return;
      if (next === this.#end) await this.#change(signal);
    }
  }

  get #end(): number {
    return this.#first + this.#events.length;
  }

  async #change(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}

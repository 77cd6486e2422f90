/** Measures again and again, as fast as asked for and no faster than the reader reads. */
import { sleep } from "./sleep.js";

/** One measurement, and how many were left out before it since the reader was slow. */
export interface Tick<T> {
  readonly value: T;
  readonly skippedTicks: number;
}

/**
 * Measures once an interval, for ever. Nothing is measured ahead: a tick that comes while the reader
 * is still busy with the one before is left out, and the next one says so. Where the measuring itself
 * takes longer than the interval, ticks are put off, which is no fault of the reader's.
 */
export async function* ticks<T>(
  intervalMillis: number,
  measure: () => Promise<T>,
  signal: AbortSignal,
): AsyncGenerator<Tick<T>> {
  let due = performance.now();
  let skippedTicks = 0;
  for (;;) {
    const value = await measure();
    due = Math.max(due + intervalMillis, performance.now());
    yield { value, skippedTicks };
    // The last tick that is due is measured now; the ones before it are lost.
    const late = performance.now() - due;
    skippedTicks = Math.max(0, Math.floor(late / intervalMillis));
    due += skippedTicks * intervalMillis;
    if (late < 0) await sleep(-late, signal);
    else signal.throwIfAborted();
  }
}

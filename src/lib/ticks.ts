/** Measures periodically, but no faster than the reader reads. */
import { sleep } from "./sleep.js";

/** One measurement, and the number of measurements skipped before it because the reader was slow. */
export interface Tick<T> {
  readonly value: T;
  readonly skippedTicks: number;
}

/**
 * Measures once per interval without end. Nothing is measured in advance: a tick during which the reader
 * is still busy with the previous one is skipped and counted. If measuring itself takes longer than the
 * interval, ticks are delayed and not counted as skipped.
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
    // The last due tick is measured now; the ones before it are skipped.
    const late = performance.now() - due;
    skippedTicks = Math.max(0, Math.floor(late / intervalMillis));
    due += skippedTicks * intervalMillis;
    if (late < 0) await sleep(-late, signal);
    else signal.throwIfAborted();
  }
}

/** Waits that take an AbortSignal. */

/** The longest delay of a timer, in milliseconds; one with a longer delay fires at once. */
const longestTimerMillis = 2 ** 31 - 1;

/** Resolves at a time, or rejects with the signal's reason. Leaves no timer behind. */
export async function waitUntil(epochMillis: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  for (let left = epochMillis - Date.now(); left > 0; left = epochMillis - Date.now()) {
    await sleep(Math.min(left, longestTimerMillis), signal);
  }
}

/** Resolves after a time, or rejects with the signal's reason. Leaves no timer behind. */
export async function sleep(millis: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, millis);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/**
 * Destroys `source` with the signal's reason when the signal aborts, and returns a function that undoes
 * this. For connections that do not take a signal.
 */
export function destroyOnAbort(
  source: { destroy(error?: Error): unknown },
  signal: AbortSignal,
): () => void {
  const onAbort = (): void => void source.destroy(signal.reason as Error);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  return () => signal.removeEventListener("abort", onAbort);
}

/** Resolves as the promise does, or rejects with the signal's reason if that aborts before. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

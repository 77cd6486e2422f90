/** A queue between a source that must not wait and a reader that may be slow, bounded by bytes. */
import { NapError } from "./error.js";

/**
 * Reads `source` into memory as fast as it comes, and yields it; fails with SLOW_CONSUMER when more
 * than `maxBytes` wait. A reader that leaves early ends the source itself.
 */
export async function* unblocked<T>(
  source: AsyncIterable<T>,
  sizeOf: (item: T) => number,
  maxBytes: number,
): AsyncGenerator<T> {
  const waiting: T[] = [];
  let bytes = 0;
  let wake = (): void => undefined;
  let end: { readonly failure?: unknown } | undefined;
  const fill = async (): Promise<void> => {
    try {
      for await (const item of source) {
        bytes += sizeOf(item);
        if (bytes > maxBytes) throw tooSlow(maxBytes);
        waiting.push(item);
        wake();
      }
      end = {};
    } catch (failure) {
      end = { failure };
    }
    wake();
  };
  void fill();
  for (;;) {
    const item = waiting.shift();
    if (item !== undefined) {
      bytes -= sizeOf(item);
      yield item;
    } else if (end !== undefined) {
      if ("failure" in end) throw end.failure;
      return;
    } else {
      await new Promise<void>((resolve) => (wake = resolve));
    }
  }
}

function tooSlow(maxBytes: number): NapError {
  const message = `the client reads too slowly: ${maxBytes} bytes wait for it`;
  return new NapError("SLOW_CONSUMER", message);
}

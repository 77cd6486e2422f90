/** Runs a bounded number of calls in parallel. */

/** The maximum number of parallel calls of an engine for one list. */
const atOnce = 8;

/** Maps the items, a few at a time, and returns the results in order. Throws the first error. */
export async function mapInParallel<T, R>(
  items: readonly T[],
  map: (item: T) => Promise<R>,
  most = atOnce,
): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += most) {
    results.push(...(await Promise.all(items.slice(at, at + most).map(map))));
  }
  return results;
}

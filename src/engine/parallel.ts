/** Runs a bounded number of calls at once. */

/** As many calls of an engine as one list may have under way. */
const atOnce = 8;

/** Maps the items in their order, a few at a time. The first failure is thrown. */
export async function mapInParallel<T, R>(
  items: readonly T[],
  map: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += atOnce) {
    results.push(...(await Promise.all(items.slice(at, at + atOnce).map(map))));
  }
  return results;
}

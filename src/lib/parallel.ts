/** Runs a bounded number of calls at once. */

/** As many calls of an engine as one list may have under way. */
const atOnce = 8;

/** Maps the items in their order, a few at a time. The first failure is thrown. */
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

/** Converts environment variables between a map, as the contract has them, and a list of NAME=VALUE. */

/**
 * Returns a map from a list of NAME=VALUE. Entries without a value are left out, see {@link
 * unsetVariables}.
 */
export function environmentMap(list: readonly string[] | null | undefined): Record<string, string> {
  return Object.fromEntries(
    (list ?? []).flatMap((entry) => {
      const equals = entry.indexOf("=");
      return equals < 0 ? [] : [[entry.slice(0, equals), entry.slice(equals + 1)]];
    }),
  );
}

/**
 * Returns the entries without a value in a list of NAME=VALUE. Docker removes these variables of the
 * image.
 */
export function unsetVariables(list: readonly string[] | null | undefined): string[] {
  return (list ?? []).filter((entry) => !entry.includes("="));
}

/** Returns a list of NAME=VALUE from a map. */
export function environmentList(map: Readonly<Record<string, string>>): string[] {
  return Object.entries(map).map(([name, value]) => `${name}=${value}`);
}

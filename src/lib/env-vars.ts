/** Converts environment variables between a map, as the contract has them, and a list of NAME=VALUE. */

/** A map from a list of NAME=VALUE. A name alone, which removes the image's, has no value. */
export function environmentMap(list: readonly string[] | null | undefined): Record<string, string> {
  return Object.fromEntries(
    (list ?? []).map((entry) => {
      const equals = entry.indexOf("=");
      return equals < 0 ? [entry, ""] : [entry.slice(0, equals), entry.slice(equals + 1)];
    }),
  );
}

/** A list of NAME=VALUE from a map. */
export function environmentList(map: Readonly<Record<string, string>>): string[] {
  return Object.entries(map).map(([name, value]) => `${name}=${value}`);
}

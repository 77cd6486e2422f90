/** Compares versions of Docker's API, such as "1.41". */

/** The lower of two versions. */
export function minVersion(a: string, b: string): string {
  const [aMajor = 0, aMinor = 0] = a.split(".").map(Number);
  const [bMajor = 0, bMinor = 0] = b.split(".").map(Number);
  return aMajor < bMajor || (aMajor === bMajor && aMinor <= bMinor) ? a : b;
}

/** Whether a version is `needed` or newer. */
export function isAtLeast(version: string, needed: string): boolean {
  return minVersion(version, needed) === needed;
}

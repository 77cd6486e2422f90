/** The error for an invalid configuration, and a function that reads files with that error. */
import { readFileSync } from "node:fs";

/** The configuration is invalid. The message says what to change. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Returns the text of a file. Fails with a {@link ConfigError}. */
export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The error of a configuration that cannot be used, and reading its files with that error. */
import { readFileSync } from "node:fs";

/** A configuration that cannot be used. The message says what to change. */
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

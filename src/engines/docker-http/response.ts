/** Handling common to all responses of dockerd. */
import { NapError } from "../../contract/errors.js";

/** Reads a document of JSON. Fails with ENGINE_UNREACHABLE where it is not whole. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as DockerApi.json
export function parseAnswer<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw brokenOff("not a whole document of JSON", error);
  }
}

/** The error for an answer whose end has not come. */
export function brokenOff(what: string, cause?: unknown): NapError {
  const message = `Docker's answer broke off: ${what}`;
  return new NapError("ENGINE_UNREACHABLE", message, {}, cause);
}

/** What runc's words mean; it has no other way to say what failed (runc 1.1.5). */
import type { ErrorKind } from "../../contract/errors.js";
import { NapError } from "../../contract/errors.js";

const meanings: readonly [words: RegExp, kind: ErrorKind][] = [
  [
    /exec: .*: (executable file not found|stat .*: (no such file|not a directory))/,
    "COMMAND_NOT_FOUND",
  ],
  [/exec: .*: (permission denied|is a directory)/, "COMMAND_NOT_EXECUTABLE"],
  [
    /container not running|process already finished|container does not exist/,
    "CONTAINER_NOT_RUNNING",
  ],
  // The file of a namespace is not there, or is none of its kind.
  [/namespace path: |failed to setns /, "CONTAINER_START_FAILED"],
];

/** The error for a container that runc could not start, or for a command that it could not run. */
export function runtimeError(resource: string, words: string, cause?: unknown): NapError {
  // runc logs as `time=… level=error msg="…"`, with its quotes escaped, and may log several lines: what
  // went wrong, and what it then could not tidy, in any order.
  const messages = [...words.matchAll(/msg="((?:[^"\\]|\\.)*)"/g)].map(([, message]) => message);
  const message = messages.length > 0 ? messages.join("; ") : words;
  const engineMessage = message.replaceAll('\\"', '"').trim();
  const kind = meanings.find(([pattern]) => pattern.test(engineMessage))?.[1] ?? "ENGINE_ERROR";
  return new NapError(kind, `${resource}: ${engineMessage}`, { resource, engineMessage }, cause);
}

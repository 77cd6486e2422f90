/** Maps runc's messages to reasons of the contract; runc has no error codes (runc 1.1.5). */
import type { Reason } from "../../contract/errors.js";
import { NapError } from "../../contract/errors.js";

/** The kernel says the same of a control group without processors and of too many inotify watches. */
const diskFull: [words: RegExp, reason: Reason] = [
  /^(?!.*(cgroup|cpuset|inotify)).*no space left on device/is,
  "ENGINE_DISK_FULL",
];

const meanings: readonly [words: RegExp, reason: Reason][] = [
  [
    /exec: .*: (executable file not found|stat .*: (no such file|not a directory))/,
    "COMMAND_NOT_FOUND",
  ],
  [/exec: .*: (permission denied|is a directory)/, "COMMAND_NOT_EXECUTABLE"],
  [
    /container not running|process already finished|container does not exist/,
    "CONTAINER_NOT_RUNNING",
  ],
  diskFull,
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
  const reason = meanings.find(([pattern]) => pattern.test(engineMessage))?.[1] ?? "ENGINE_ERROR";
  return new NapError(reason, `${resource}: ${engineMessage}`, { resource, engineMessage }, cause);
}

/** The error for a program that failed and whose words it writes to its standard error. */
export function programError(command: string, engineMessage: string): NapError {
  const reason = diskFull[0].test(engineMessage) ? diskFull[1] : "ENGINE_ERROR";
  return new NapError(reason, `${command}: ${engineMessage}`, { engineMessage });
}

/**
 * The input of a client that streams to a process: the order of its messages, and which of them the
 * process accepts.
 */
import type {
  AttachContainerRequest,
  ExecContainerRequest,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { TerminalSize } from "../../../gen/nap/v1/types_pb.js";
import { fieldError } from "../../contract/errors.js";

type InteractionRequest = ExecContainerRequest | AttachContainerRequest;

/** The input side of a process. Input for a process that has ended has no effect. */
export interface ProcessIo {
  /**
   * Writes bytes to its standard input; resolves when it takes more. Absent if it has no standard input.
   */
  readonly write?: (data: Uint8Array) => Promise<void>;
  /** Closes its standard input. */
  readonly closeStdin: () => void;
  /** Resizes its terminal. Absent if it has no terminal. */
  readonly resize?: (size: TerminalSize) => Promise<void>;
  readonly signal: (signal: string) => Promise<void>;
}

/** Fails with FIELD_INVALID if a size is given and there is no terminal. */
export function refuseSizeWithoutTerminal(size: TerminalSize | undefined, tty: boolean): void {
  if (size !== undefined && !tty) throw invalid("open.terminal_size", "there is no terminal");
}

/**
 * Forwards the client's messages after `open` one by one until the client half-closes, which also closes
 * standard input. Fails with FIELD_INVALID if the process does not accept a message.
 */
export async function interact<R extends InteractionRequest>(
  incoming: AsyncIterator<R>,
  process: ProcessIo,
  signal: AbortSignal,
): Promise<void> {
  let closed = false;
  for (;;) {
    const next = await incoming.next();
    if (signal.aborted) return;
    if (next.done) break;
    const { payload } = next.value;
    switch (payload.case) {
      case "stdin":
        if (process.write === undefined) throw invalid("stdin", "open.stdin is not set");
        if (closed) throw invalid("stdin", "comes after close_stdin");
        await process.write(payload.value);
        break;
      case "closeStdin":
        if (process.write === undefined) throw invalid("close_stdin", "open.stdin is not set");
        if (closed) throw invalid("close_stdin", "comes twice");
        closed = true;
        process.closeStdin();
        break;
      case "resize":
        if (process.resize === undefined) throw invalid("resize", "there is no terminal");
        await process.resize(payload.value);
        break;
      case "signal":
        await process.signal(payload.value);
        break;
      case "open":
      case undefined:
        break;
    }
  }
  if (!closed) process.closeStdin();
}

/**
 * Yields the output while `input` runs. A failure of the input ends the output with that error; the end of
 * the output aborts the input, which may be waiting for the client.
 */
export async function* runDuplex<T>(
  input: (signal: AbortSignal) => Promise<void>,
  outputOf: (signal: AbortSignal) => AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const finished = new AbortController();
  const combined = AbortSignal.any([signal, finished.signal]);
  input(combined).catch((error: unknown) => finished.abort(error));
  try {
    yield* outputOf(combined);
    finished.signal.throwIfAborted();
  } finally {
    finished.abort();
  }
}

function invalid(field: string, description: string): Error {
  return fieldError([{ field, description, reason: "FIELD_INVALID" }]);
}

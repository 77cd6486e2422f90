/**
 * What a client does with a process whose input and output it has as streams: the order of its
 * messages, and what of it the process can take.
 */
import type {
  AttachContainerRequest,
  ExecContainerRequest,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { TerminalSize } from "../../../gen/nap/v1/types_pb.js";
import { fieldError } from "../../contract/errors.js";

type InteractionRequest = ExecContainerRequest | AttachContainerRequest;

/** The process at the other end. What comes too late for it, since it has ended, has no effect. */
export interface ProcessIo {
  /** Hands on bytes for its standard input; resolves when it takes more. Absent: it has none. */
  readonly write?: (data: Uint8Array) => Promise<void>;
  /** Tells the end of its standard input. */
  readonly closeStdin: () => void;
  /** Gives its terminal another size. Absent: it has no terminal. */
  readonly resize?: (size: TerminalSize) => Promise<void>;
  readonly signal: (signal: string) => Promise<void>;
}

/** Fails with FIELD_INVALID where a size is given for a terminal that is not there. */
export function refuseSizeWithoutTerminal(size: TerminalSize | undefined, tty: boolean): void {
  if (size !== undefined && !tty) throw invalid("open.terminal_size", "there is no terminal");
}

/**
 * Hands on everything that the client sends behind its open, one message after the other, to its end,
 * which is the end of standard input too. Fails with FIELD_INVALID where the process cannot take it.
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
 * Yields the output while `input` runs. A failure of the input ends the output with it; the end of
 * the output ends the input, which may wait for a client that sends nothing more.
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

/** Reads the log files that conmon writes: `RFC3339 stream F|P text`. */
import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import type { LogEntry } from "../../../../gen/nap/v1/container_service_pb.js";
import { LogEntrySchema } from "../../../../gen/nap/v1/container_service_pb.js";
import { OutputStream } from "../../../../gen/nap/v1/types_pb.js";
import { NapError } from "../../../contract/errors.js";
import { timestampOf } from "../../../lib/time.js";
import { sleep } from "../../../lib/sleep.js";

const newline = 0x0a;
const chunkBytes = 64 * 1024;
/** The polling interval of a followed file. */
const pollMillis = 50;

/** Opens a log file. Undefined: the container was never started, since conmon makes it then. */
export async function openLog(path: string): Promise<FileHandle | undefined> {
  return open(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

/**
 * The entries in a log file, by its path or opened. While `live` says so, what is written later
 * follows; when it has said no, what is there by then is read to its end: conmon writes the exit file
 * after the last line.
 */
export async function* logEntries(
  log: string | FileHandle | undefined,
  live: () => Promise<boolean>,
  signal: AbortSignal,
): AsyncGenerator<LogEntry[]> {
  const file = typeof log === "string" ? await openLog(log) : log;
  if (file === undefined) return;
  try {
    let position = 0;
    let rest: Buffer = Buffer.alloc(0);
    for (;;) {
      signal.throwIfAborted();
      const goesOn = await live();
      for (;;) {
        const { bytesRead, buffer } = await file.read(
          Buffer.alloc(chunkBytes),
          0,
          chunkBytes,
          position,
        );
        if (bytesRead === 0) break;
        position += bytesRead;
        const bytes = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        const end = bytes.lastIndexOf(newline) + 1;
        rest = bytes.subarray(end);
        const entries = entriesOf(bytes.subarray(0, end));
        if (entries.length > 0) yield entries;
      }
      if (!goesOn) return;
      await sleep(pollMillis, signal);
    }
  } finally {
    await file.close();
  }
}

function entriesOf(bytes: Buffer): LogEntry[] {
  const entries: LogEntry[] = [];
  let at = 0;
  for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, at)) {
    entries.push(entryOf(bytes.subarray(at, end)));
    at = end + 1;
  }
  return entries;
}

const lineEnd = Buffer.from("\n");

function entryOf(line: Buffer): LogEntry {
  const [, stamp, stream, tag] =
    /^(\S+) (stdout|stderr) ([FP]) /.exec(line.toString("latin1", 0, 64)) ?? [];
  if (stamp === undefined || stream === undefined) {
    throw new NapError("ENGINE_ERROR", "the log has a line that conmon did not write");
  }
  const text = line.subarray(stamp.length + stream.length + " ".length * 3 + 1);
  const partial = tag === "P";
  return create(LogEntrySchema, {
    stream: stream === "stdout" ? OutputStream.STDOUT : OutputStream.STDERR,
    time: timestampOf(stamp),
    data: partial ? new Uint8Array(text) : Buffer.concat([text, lineEnd]),
    partial,
  });
}

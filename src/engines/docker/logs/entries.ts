/** Splits dockerd's log stream into entries with their times. */
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { LogEntry } from "../../../../gen/nap/v1/container_service_pb.js";
import { LogEntrySchema } from "../../../../gen/nap/v1/container_service_pb.js";
import { OutputStream } from "../../../../gen/nap/v1/types_pb.js";
import { NapError } from "../../../contract/errors.js";
import { timestampOf } from "../../../lib/time.js";
import { frames } from "../../docker-http/frames.js";

const newline = 0x0a;
const space = 0x20;
/** The maximum number of bytes of a line in one entry of dockerd's log. */
const lineBytes = 16 * 1024;
/** The maximum length of a timestamp: RFC 3339 with nanoseconds and an offset. */
const stampBytes = 36;

/**
 * The entries that each read of a log stream with time stamps completes. With `joinsParts` the newline of
 * a line in several parts is put back, which the log driver `local` loses before API 1.42. Such a line
 * cannot be distinguished from one that a container left without a newline when it ended.
 */
export async function* logEntries(
  source: AsyncIterable<Buffer>,
  tty: boolean,
  joinsParts = false,
): AsyncGenerator<LogEntry[]> {
  if (tty) {
    yield* terminalEntries(source);
    return;
  }
  const parts = new Map<OutputStream, LogEntry>();
  for await (const whole of frames(source)) {
    yield whole.map(({ stream, data }) => {
      const made = entry(stream, data);
      if (joinsParts && endsParts(parts.get(stream), made)) withNewline(made);
      parts.set(stream, made);
      return made;
    });
  }
}

/** Whether an entry is the last part of a line: the parts before are as long as parts can be. */
function endsParts(before: LogEntry | undefined, { partial, data, time }: LogEntry): boolean {
  if (before === undefined || !partial || data.length >= lineBytes) return false;
  return (
    before.partial &&
    before.data.length === lineBytes &&
    before.time?.seconds === time?.seconds &&
    before.time?.nanos === time?.nanos
  );
}

function withNewline(entry: LogEntry): void {
  entry.data = Buffer.concat([entry.data, Buffer.of(newline)]);
  entry.partial = false;
}

function entry(stream: OutputStream, line: Buffer): LogEntry {
  const blank = line.indexOf(space);
  if (blank < 0 || blank > stampBytes) {
    throw new NapError("ENGINE_ERROR", "Docker sent a log line without a time stamp");
  }
  const time: Timestamp | undefined = timestampOf(line.toString("latin1", 0, blank));
  const data = line.subarray(blank + 1);
  return create(LogEntrySchema, { stream, time, data, partial: data.at(-1) !== newline });
}

/**
 * The log of a container with a terminal is not framed: each line, or each 16 KiB of a longer one,
 * begins with its time stamp.
 */
async function* terminalEntries(source: AsyncIterable<Buffer>): AsyncGenerator<LogEntry[]> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const entries: LogEntry[] = [];
    for (;;) {
      const end = lineEnd(rest);
      if (end === undefined) break;
      entries.push(entry(OutputStream.STDOUT, rest.subarray(0, end)));
      rest = rest.subarray(end);
    }
    if (entries.length > 0) yield entries;
  }
  if (rest.length > 0) yield [entry(OutputStream.STDOUT, rest)];
}

/** Returns the end of the first entry; undefined if it is not in these bytes. */
function lineEnd(bytes: Buffer): number | undefined {
  const blank = bytes.indexOf(space);
  if (blank < 0) return undefined;
  const longest = blank + 1 + lineBytes;
  const end = bytes.subarray(0, longest).indexOf(newline, blank);
  if (end >= 0) return end + 1;
  // A line of exactly this length has its newline next, which belongs to it.
  if (bytes.length <= longest) return undefined;
  return bytes[longest] === newline ? longest + 1 : longest;
}

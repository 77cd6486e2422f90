/**
 * Demultiplexes the stream in which dockerd sends stdout and stderr.
 *
 * Each frame is a byte for the stream, three zero bytes, the length as 32 bits big-endian, then as
 * many bytes. docker-modem's own demultiplexer ignores backpressure and stops at frames of type 3.
 */
import { create } from "@bufbuild/protobuf";
import type { OutputBatch, OutputChunk } from "../../../gen/nap/v1/types_pb.js";
import {
  OutputBatchSchema,
  OutputChunkSchema,
  OutputStream,
} from "../../../gen/nap/v1/types_pb.js";
import { NapError } from "../../contract/errors.js";
import { brokenOff } from "./response.js";

/** A frame as dockerd sends it. */
export interface Frame {
  readonly stream: OutputStream;
  readonly data: Buffer;
}

const headerBytes = 8;
/** dockerd splits output into frames of at most 32 KiB, and log lines at 16 KiB. */
const maxFrameBytes = 1024 * 1024;

/**
 * Yields the whole frames that each read of `source` completes. What is held back is less than one
 * frame. A frame of dockerd itself (type 3) carries an error and is thrown as one.
 */
export async function* frames(source: AsyncIterable<Buffer>): AsyncGenerator<Frame[]> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const whole: Frame[] = [];
    let at = 0;
    while (rest.length - at >= headerBytes) {
      const length = rest.readUInt32BE(at + 4);
      if (length > maxFrameBytes) throw brokenStream(`a frame of ${length} bytes`);
      const end = at + headerBytes + length;
      if (rest.length < end) break;
      whole.push(frame(rest[at] ?? 0, rest.subarray(at + headerBytes, end)));
      at = end;
    }
    rest = rest.subarray(at);
    if (whole.length > 0) yield whole;
  }
  if (rest.length > 0) throw brokenOff("an unfinished frame of output");
}

function frame(type: number, data: Buffer): Frame {
  // Type 0 is stdin, which dockerd writes to stdout's side.
  if (type === 0 || type === 1) return { stream: OutputStream.STDOUT, data };
  if (type === 2) return { stream: OutputStream.STDERR, data };
  throw brokenStream(type === 3 ? data.toString() : `a frame of type ${type}`);
}

function brokenStream(what: string): NapError {
  const message = `Docker's output stream broke off: ${what}`;
  return new NapError("ENGINE_ERROR", message, { engineMessage: what });
}

/** The output of a process as batches: raw where it has a terminal, else framed. */
export async function* outputBatches(
  source: AsyncIterable<Buffer>,
  tty: boolean,
): AsyncGenerator<OutputBatch> {
  if (tty) {
    for await (const data of source) yield batch([{ stream: OutputStream.STDOUT, data }]);
  } else {
    for await (const whole of frames(source)) yield batch(whole);
  }
}

function batch(whole: readonly Frame[]): OutputBatch {
  const chunks: OutputChunk[] = whole
    .filter(({ data }) => data.length > 0)
    .map(({ stream, data }) => create(OutputChunkSchema, { stream, data }));
  return create(OutputBatchSchema, { chunks });
}

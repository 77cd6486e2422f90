/** Reads the streams in which dockerd sends one JSON document a line. */
import { NapError } from "../../contract/errors.js";

/** A longer line is taken for a broken stream. */
const maxLineBytes = 4 * 1024 * 1024;
const newline = 0x0a;

/** The lines that each read of `source` completes, without their ends. Blank lines are left out. */
export async function* lineBatches(source: AsyncIterable<Buffer>): AsyncGenerator<string[]> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    const end = chunk.lastIndexOf(newline);
    if (end < 0) {
      rest = Buffer.concat([rest, chunk]);
      if (rest.length > maxLineBytes) {
        throw new NapError("ENGINE_ERROR", `Docker sent a line of more than ${maxLineBytes} bytes`);
      }
      continue;
    }
    const whole = Buffer.concat([rest, chunk.subarray(0, end)]);
    rest = chunk.subarray(end + 1);
    const lines = textLines(whole);
    if (lines.length > 0) yield lines;
  }
  const last = textLines(rest);
  if (last.length > 0) yield last;
}

function textLines(bytes: Buffer): string[] {
  return bytes
    .toString()
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** Lines of JSON are read however they are cut. */
import { expect } from "chai";
import * as fc from "fast-check";
import { lineBatches } from "./lines.js";
import { all } from "../../../test/support/client.js";

/** Yields the bytes cut at any positions, as a socket may deliver them. */
async function* cut(bytes: Buffer, places: readonly number[]): AsyncGenerator<Buffer> {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].toSorted(
    (a, b) => a - b,
  );
  let from = 0;
  for (const to of [...at, bytes.length]) {
    if (to > from) yield bytes.subarray(from, to);
    from = to;
  }
}

const places = fc.array(fc.nat(5000), { maxLength: 20 });

describe("lines", () => {
  it("joins and splits lines of JSON wherever they are cut", async () => {
    const line = fc.json().map((text) => text.replaceAll("\n", " ").trim());
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 9 }), places, async (lines, at) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\r\n`).join(""));
        expect((await all(lineBatches(cut(bytes, at)))).flat()).to.deep.equal(lines);
      }),
    );
  });
});

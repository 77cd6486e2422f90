/** Log streams are read however they are cut. */
import { expect } from "chai";
import * as fc from "fast-check";
import { logEntries } from "./entries.js";
import { all } from "../../../../test/support/client.js";

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

describe("log entries", () => {
  it("takes the lines of a terminal's log apart wherever they are cut", async () => {
    const stamp = "2026-11-24T01:58:50.496976686Z";
    const line = fc.oneof(
      fc.string({ maxLength: 40 }).map((text) => `${text.replaceAll("\n", "")}\n`),
      fc.constantFrom("x".repeat(16_384), "y".repeat(16_384) + "\n", "z z\n"),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 6 }), places, async (lines, at) => {
        const bytes = Buffer.from(lines.map((text) => `${stamp} ${text}`).join(""));
        const got = (await all(logEntries(cut(bytes, at), true))).flat();
        expect(got.map(({ data }) => Buffer.from(data).toString())).to.deep.equal(lines);
        for (const { time } of got) expect(time?.nanos).to.equal(496_976_686);
      }),
    );
  });
});

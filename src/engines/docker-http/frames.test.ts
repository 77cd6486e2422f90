/** dockerd's frames are read however they are cut. */
import { expect } from "chai";
import * as fc from "fast-check";
import { OutputStream } from "../../../gen/nap/v1/types_pb.js";
import { frames } from "./frames.js";
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

function frame(type: number, data: Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header[0] = type;
  header.writeUInt32BE(data.length, 4);
  return Buffer.concat([header, data]);
}

const places = fc.array(fc.nat(5000), { maxLength: 20 });

describe("frames", () => {
  it("takes frames apart the same wherever they are cut", async () => {
    const streams = fc.constantFrom(OutputStream.STDOUT, OutputStream.STDERR);
    const parts = fc.array(fc.tuple(streams, fc.uint8Array({ maxLength: 300 })));
    await fc.assert(
      fc.asyncProperty(parts, places, async (sent, at) => {
        const bytes = Buffer.concat(sent.map(([type, data]) => frame(type, data)));
        const got = (await all(frames(cut(bytes, at)))).flat();
        expect(got.map(({ stream, data }) => [stream, [...data]])).to.deep.equal(
          sent.map(([type, data]) => [type, [...data]]),
        );
      }),
    );
  });

  it("refuses a stream that ends within a frame, is no frame, or carries dockerd's own error", async () => {
    const broken = [
      frame(1, Buffer.from("abc")).subarray(0, 10),
      Buffer.from([1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
      frame(9, Buffer.from("x")),
      frame(3, Buffer.from("the daemon failed")),
    ];
    for (const bytes of broken) {
      const error = await all(frames(cut(bytes, []))).then(
        () => undefined,
        (reason: Error) => reason,
      );
      expect(error?.message).to.match(/broke off/);
    }
  });
});

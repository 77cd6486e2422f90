/** The parsers of byte streams, under any input. */
import { expect } from "chai";
import * as fc from "fast-check";
import { OutputStream } from "../../gen/nap/v1/types_pb.js";
import { queryTime } from "../engines/docker-http/time.js";
import { durationNanos, timestampOf, timestampOfNanos } from "../lib/time.js";
import { frames } from "../engines/docker-http/frames.js";
import { lineBatches } from "../engines/docker-http/lines.js";
import { logEntries } from "../engines/docker/logs/entries.js";
import { isRegistryOf, parseReference, referenceText } from "../core/images/reference.js";
import { eventOf } from "../engines/docker-http/convert/event.js";
import { cpusetNumbers } from "../engines/docker-http/convert/resources/resources.js";
import { all } from "../../test/support/client.js";

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

describe("parsing", () => {
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

  it("joins and splits lines of JSON wherever they are cut", async () => {
    const line = fc.json().map((text) => text.replaceAll("\n", " ").trim());
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 9 }), places, async (lines, at) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\r\n`).join(""));
        expect((await all(lineBatches(cut(bytes, at)))).flat()).to.deep.equal(lines);
      }),
    );
  });

  for (const [text, name, tag] of [
    ["a", "a", "latest"],
    ["a:1", "a", "1"],
    ["host:5000/a", "host:5000/a", "latest"],
    ["host:5000/a/b:1", "host:5000/a/b", "1"],
    ["a@sha256:00", "a", "sha256:00"],
    ["host:5000/a:1@sha256:00", "host:5000/a", "sha256:00"],
  ] as const) {
    it(`takes the reference ${text} apart`, () => {
      expect(parseReference(text)).to.include({ name, tag });
    });
  }

  for (const [text, registry, other] of [
    ["busybox", "docker.io", "busybox"],
    ["nap/busybox:1", "index.docker.io", "nap"],
    ["docker.io/nap/busybox", "Docker.IO", "quay.io"],
    ["localhost/a", "localhost", "docker.io"],
    ["127.0.0.1:5000/a/b:1", "127.0.0.1:5000", "127.0.0.1:5001"],
    ["Quay.io/a@sha256:00", "quay.io", "quay.io:443"],
    ["[::1]:5000/a", "[::1]:5000", "[::1]"],
  ] as const) {
    it(`knows the registry of ${text} from another`, () => {
      expect(isRegistryOf(text, registry)).to.equal(true);
      expect(isRegistryOf(text, other)).to.equal(false);
      expect(isRegistryOf(text, "")).to.equal(false);
    });
  }

  it("puts any reference together again", () => {
    const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
    const host = fc.option(
      fc.tuple(word, fc.nat(65_535)).map(([name, port]) => `${name}:${port}/`),
    );
    fc.assert(
      fc.property(host, word, word, fc.constantFrom(":", "@sha256:"), (at, name, tag, joint) => {
        const text = `${at ?? ""}${name}${joint}${tag}`;
        expect(referenceText(parseReference(text))).to.equal(text);
      }),
    );
  });

  it("keeps every nanosecond of a time", () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 4_000_000_000_000_000_000n), (nanos) => {
        const time = timestampOfNanos(nanos);
        expect(time.seconds * 1_000_000_000n + BigInt(time.nanos)).to.equal(nanos);
        const [seconds = "", fraction = ""] = queryTime(time)?.split(".") ?? [];
        expect(BigInt(seconds + fraction)).to.equal(nanos);
        const second = new Date(Number(time.seconds) * 1000).toISOString().slice(0, 19);
        const text = `${second}.${String(time.nanos).padStart(9, "0")}Z`;
        expect(timestampOf(text)).to.deep.equal(time);
      }),
    );
    expect(timestampOf("0001-01-01T00:00:00Z")).to.equal(undefined);
    expect(durationNanos(undefined)).to.equal(undefined);
  });

  it("reads the time of an event to the nanosecond, and its exit code", () => {
    const event = eventOf(
      "docker",
      '{"status":"die","id":"a","Type":"container","Action":"die","Actor":{"ID":"a","Attributes":' +
        '{"exitCode":"3","name":"n"}},"scope":"local","time":1795485776,"timeNano":1795485776957409177}',
    );
    expect(event.time).to.include({ seconds: 1_795_485_776n, nanos: 957_409_177 });
    expect(event.details.case === "exit" && event.details.value.code).to.equal(3);
  });

  it("reads lists of processors", () => {
    expect(cpusetNumbers("0-3,7")).to.deep.equal([0, 1, 2, 3, 7]);
  });
});

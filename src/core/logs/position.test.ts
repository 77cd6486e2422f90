/** Positions and cursors in logs: whatever is cut, nothing is lost and nothing comes twice. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import * as fc from "fast-check";
import type { LogEntry } from "../../../gen/nap/v1/container_service_pb.js";
import {
  LogEntrySchema,
  StreamContainerLogsRequestSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import { OutputStream } from "../../../gen/nap/v1/types_pb.js";
import type { NapError } from "../../contract/errors.js";
import { decodeLogCursor, encodeLogCursor } from "./cursor.js";
import type { LogPositions } from "./position.js";
import { LogReader, positionAt } from "./position.js";
import { positionsBeforeLast } from "./tail.js";
import { timestampNanos, timestampOfNanos } from "../../lib/time.js";

const { STDOUT, STDERR } = OutputStream;
const both = [STDOUT, STDERR];

/** A log from the steps by which each entry is later than the one before; 0 makes equal times. */
function logOf(steps: readonly [step: number, isError: boolean][], start = 1000): LogEntry[] {
  let at = start;
  return steps.map(([step, isError], index) => {
    at += step;
    const stream = isError ? STDERR : STDOUT;
    const time = timestampOfNanos(BigInt(at));
    return create(LogEntrySchema, { stream, time, data: Buffer.from(String(index)) });
  });
}

const steps = (least: number) =>
  fc.array(fc.tuple(fc.integer({ min: least, max: 2 }), fc.boolean()), { maxLength: 60 });

const beginning: LogPositions = new Map(both.map((stream) => [stream, positionAt(-1n)]));

/** Makes one pass over a log, cut after some entries, and returns the new entries. */
function pass(reader: LogReader, log: readonly LogEntry[], cut: number): string[] {
  reader.begin();
  const fresh: string[] = [];
  for (const entry of log) {
    for (const each of reader.take([entry])) {
      // The entry at the cut has not been taken.
      if (fresh.length === cut) return fresh;
      fresh.push(each.kind === "entry" ? Buffer.from(each.entry.data).toString() : "gap");
    }
  }
  return fresh;
}

/** Filters a log by time as an engine does. */
const since = (log: readonly LogEntry[], nanos: bigint): LogEntry[] =>
  log.filter(({ time }) => timestampNanos(time!) >= nanos);

/** Goes through a log by passes that are cut, each with the positions that a cursor kept. */
function resumed(
  cuts: readonly number[],
  read: (reader: LogReader) => readonly LogEntry[],
): string[] {
  const container = "c";
  const seen: string[] = [];
  let cursor = encodeLogCursor({ container, positions: beginning, runNanos: 0n });
  for (const cut of [...cuts, Infinity]) {
    const request = create(StreamContainerLogsRequestSchema, { cursor });
    const reader = new LogReader(decodeLogCursor(request, container).positions);
    seen.push(...pass(reader, read(reader), cut));
    cursor = encodeLogCursor({ container, positions: reader.positions, runNanos: 0n });
  }
  return seen;
}

const cuts = fc.array(fc.nat({ max: 8 }), { maxLength: 12 });

describe("logs", () => {
  it("a log cut anywhere and resumed gives each entry once, also of equal times", () => {
    fc.assert(
      fc.property(steps(0), cuts, (all, places) => {
        const log = logOf(all);
        const seen = resumed(places, (reader) => since(log, reader.sinceNanos));
        expect(seen).to.deep.equal(log.map((_, index) => String(index)));
      }),
    );
  });

  it("so does one whose clock steps back, where it is read whole", () => {
    fc.assert(
      fc.property(steps(-3), cuts, (all, places) => {
        const log = logOf(all);
        const seen = resumed(places, () => log);
        expect(seen).to.deep.equal(log.map((_, index) => String(index)));
      }),
    );
  });

  it("entries that rotation has taken away leave a gap, and only those", () => {
    fc.assert(
      fc.property(steps(1), fc.nat(60), fc.nat(60), (all, delivered, gone) => {
        const log = logOf(all);
        const reader = new LogReader(beginning);
        const first = pass(reader, log, delivered);
        const left = log.slice(gone);
        const rest = pass(reader, since(left, reader.sinceNanos), Infinity);
        const from = Math.max(first.length, gone);
        const expected = log.slice(from).map((_, index) => String(from + index));
        const isGap = first.length > 0 && gone >= first.length && expected.length > 0;
        expect(rest).to.deep.equal(isGap ? ["gap", ...expected] : expected);
      }),
    );
  });

  it("a stream that follows takes each entry once, however reads overlap", () => {
    fc.assert(
      fc.property(steps(0), fc.array(fc.nat(60)), (all, lengths) => {
        const log = logOf(all);
        const reader = new LogReader(beginning);
        const seen: string[] = [];
        for (const length of [...lengths.toSorted((a, b) => a - b), log.length]) {
          seen.push(...pass(reader, since(log.slice(0, length), reader.sinceNanos), Infinity));
        }
        expect(seen).to.deep.equal(log.map((_, index) => String(index)));
      }),
    );
  });

  it("the last entries of the selected streams are found, whatever lies between them", async () => {
    const selections = fc.constantFrom([STDOUT], [STDERR], both);
    const wanted = fc.nat(20);
    await fc.assert(
      fc.asyncProperty(steps(0), wanted, selections, async (all, count, streams) => {
        const log = logOf(all);
        const selected = log.filter(({ stream }) => streams.includes(stream));
        async function* readLast(entries: number) {
          yield log.slice(-entries);
        }
        const found = await positionsBeforeLast(count, new Set(streams), readLast);
        const seen = pass(new LogReader(found), selected, Infinity);
        const last = count === 0 ? [] : selected.slice(-count);
        expect(seen).to.deep.equal(last.map(({ data }) => Buffer.from(data).toString()));
      }),
    );
  });

  it("refuses cursors of other containers and streams, and what is none", () => {
    const positions = new Map([[STDOUT, positionAt(5n)]]);
    const cursor = encodeLogCursor({ container: "c", positions, runNanos: 7n });
    const decode = (fields: object, container = "c"): unknown =>
      decodeLogCursor(create(StreamContainerLogsRequestSchema, { cursor, ...fields }), container);
    expect(decode({ streams: [STDOUT] })).to.deep.equal({
      container: "c",
      positions,
      runNanos: 7n,
    });
    const kindOf = (work: () => unknown): string => {
      try {
        work();
        return "none";
      } catch (error) {
        return (error as NapError).reason;
      }
    };
    expect(kindOf(() => decode({ streams: [STDOUT] }, "d"))).to.equal("CURSOR_INVALID");
    expect(kindOf(() => decode({}))).to.equal("CURSOR_INVALID");
    expect(kindOf(() => decode({ streams: [STDERR] }))).to.equal("CURSOR_INVALID");
    expect(kindOf(() => decode({ streams: [STDOUT], tailLines: 1 }))).to.equal("FIELD_INVALID");
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ minLength: 1 }), fc.base64String({ minLength: 4 })),
        (text) => {
          expect(kindOf(() => decode({ cursor: text }))).to.equal("CURSOR_INVALID");
        },
      ),
    );
  });
});

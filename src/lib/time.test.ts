/** Times keep their nanoseconds. */
import { expect } from "chai";
import * as fc from "fast-check";
import { queryTime } from "../engines/docker-http/time.js";
import { durationNanos, timestampOf, timestampOfNanos } from "./time.js";

describe("time", () => {
  it("keeps every nanosecond of a time", () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 4_000_000_000_000_000_000n), (nanos) => {
        const time = timestampOfNanos(nanos);
        expect(time.seconds * 1_000_000_000n + BigInt(time.nanos)).to.equal(nanos);
        const [seconds = "", fraction = ""] = queryTime(time).split(".");
        expect(BigInt(seconds + fraction)).to.equal(nanos);
        const second = new Date(Number(time.seconds) * 1000).toISOString().slice(0, 19);
        const text = `${second}.${String(time.nanos).padStart(9, "0")}Z`;
        expect(timestampOf(text)).to.deep.equal(time);
      }),
    );
    expect(timestampOf("0001-01-01T00:00:00Z")).to.equal(undefined);
    expect(durationNanos(undefined)).to.equal(undefined);
  });
});

/** Converts times and spans as engines write them, without losing nanoseconds. */
import { create } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { fieldError } from "./error.js";

const nanosPerSecond = 1_000_000_000n;
const maxWholeSeconds = 2_147_483_647n;

/** An RFC 3339 time with up to nine fraction digits. Go's zero time (year 1) means unset. */
export function timestampOf(text: string | undefined): Timestamp | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(
    text ?? "",
  );
  if (match === null || match[1]?.startsWith("0001-01-01")) return undefined;
  const [, whole, fraction = "", zone] = match;
  const millis = Date.parse(`${whole}${zone}`);
  const nanos = Number(fraction.padEnd(9, "0"));
  return create(TimestampSchema, { seconds: BigInt(millis / 1000), nanos });
}

/** A time as nanoseconds since 1970. */
export function timestampOfNanos(nanos: bigint): Timestamp {
  const seconds = nanos / nanosPerSecond;
  return create(TimestampSchema, { seconds, nanos: Number(nanos % nanosPerSecond) });
}

/** Nanoseconds since 1970. */
export function nanosSince1970({ seconds, nanos }: Timestamp): bigint {
  return seconds * nanosPerSecond + BigInt(nanos);
}

/** A time as dockerd's query parameters take it; as a number they would lose precision. */
export function queryTime(time: Timestamp | undefined): string | undefined {
  if (time === undefined) return undefined;
  return `${time.seconds}.${String(time.nanos).padStart(9, "0")}`;
}

/** A span in nanoseconds. Whole health probe intervals fit a JavaScript number. */
export function nanosOf(span: Duration | undefined): number | undefined {
  if (span === undefined) return undefined;
  return Number(span.seconds * nanosPerSecond + BigInt(span.nanos));
}

/** A span from nanoseconds; 0 means unset, as in Docker's health probes. */
export function durationOfNanos(nanos: number | undefined): Duration | undefined {
  if (nanos === undefined || nanos === 0) return undefined;
  const all = BigInt(nanos);
  const seconds = all / nanosPerSecond;
  return create(DurationSchema, { seconds, nanos: Number(all % nanosPerSecond) });
}

/** A span in seconds, as dockerd counts the wait for a stop. Fails where it is not whole. */
export function wholeSeconds(field: string, span: Duration | undefined): number | undefined {
  if (span === undefined) return undefined;
  if (span.nanos !== 0) {
    const description = "Docker counts whole seconds";
    throw fieldError([{ field, description, kind: "FIELD_UNSUPPORTED_BY_ENGINE" }]);
  }
  // dockerd counts nanoseconds in 64 bits, and what overflows kills at once.
  if (span.seconds > maxWholeSeconds) {
    const description = `must be at most ${maxWholeSeconds} seconds`;
    throw fieldError([{ field, description, kind: "FIELD_INVALID" }]);
  }
  return Number(span.seconds);
}

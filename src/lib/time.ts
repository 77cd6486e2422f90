/** Converts timestamps and durations of engines without losing nanoseconds. */
import { create } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";

const nanosPerSecond = 1_000_000_000n;

/** Parses an RFC 3339 time with up to nine fraction digits. Go's zero time (year 1) means unset. */
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

/** Returns the timestamp for nanoseconds since 1970. */
export function timestampOfNanos(nanos: bigint): Timestamp {
  const seconds = nanos / nanosPerSecond;
  return create(TimestampSchema, { seconds, nanos: Number(nanos % nanosPerSecond) });
}

/** Returns a timestamp as nanoseconds since 1970. */
export function timestampNanos({ seconds, nanos }: Timestamp): bigint {
  return seconds * nanosPerSecond + BigInt(nanos);
}

/** Returns a duration in nanoseconds. The intervals of health checks fit in a JavaScript number. */
export function durationNanos(span: Duration | undefined): number | undefined {
  if (span === undefined) return undefined;
  return Number(span.seconds * nanosPerSecond + BigInt(span.nanos));
}

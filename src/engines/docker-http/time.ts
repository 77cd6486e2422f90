/** Converts times and spans as dockerd takes and gives them. */
import { create } from "@bufbuild/protobuf";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { fieldError } from "../../contract/errors.js";

const nanosPerSecond = 1_000_000_000n;
const maxWholeSeconds = 2_147_483_647n;

/** A time as dockerd's query parameters take it; as a number they would lose precision. */
export function queryTime(time: Timestamp): string {
  return `${time.seconds}.${String(time.nanos).padStart(9, "0")}`;
}

/** A span from nanoseconds; 0 means unset, as in Docker's health checks. */
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
    throw fieldError([{ field, description, reason: "FIELD_UNSUPPORTED" }]);
  }
  // dockerd counts nanoseconds in 64 bits, and what overflows kills at once.
  if (span.seconds > maxWholeSeconds) {
    const description = `must be at most ${maxWholeSeconds} seconds`;
    throw fieldError([{ field, description, reason: "FIELD_INVALID" }]);
  }
  return Number(span.seconds);
}

/**
 * Cursors of log streams. A cursor holds everything needed to continue, so any server with the engine can.
 */
import { z } from "zod";
import type { StreamContainerLogsRequest } from "../../../gen/nap/v1/container_service_pb.js";
import { OutputStream } from "../../../gen/nap/v1/types_pb.js";
import type { FieldViolation } from "../../contract/errors.js";
import { fieldError, NapError } from "../../contract/errors.js";
import type { LogPositions, StreamPosition } from "./position.js";

/** The content of a cursor. */
export interface LogCursor {
  /** The container's full id. */
  readonly container: string;
  readonly positions: LogPositions;
  /** The start time of the run that is being read, in nanoseconds; 0 if it is not known. */
  readonly runNanos: bigint;
}

const version = 1;
const nanos = z.string().regex(/^(-1|\d{1,20})$/);
const count = z.number().int().nonnegative();
const positionSchema = z.tuple([z.number().int(), nanos, count, count, nanos]);
const cursorSchema = z.tuple([
  z.literal(version),
  z.string(),
  nanos,
  z.array(positionSchema).min(1).max(2),
]);

/** Returns the cursor as text. */
export function encodeLogCursor({ container, positions, runNanos }: LogCursor): string {
  const all = [...positions].map(([stream, { nanos: at, count: n, behind, floor }]) => [
    stream,
    String(at),
    n,
    behind,
    String(floor),
  ]);
  const text = JSON.stringify([version, container, String(runNanos), all]);
  return Buffer.from(text).toString("base64url");
}

/** Returns the streams that a request selects. */
export function selectedStreams({ streams }: StreamContainerLogsRequest): Set<OutputStream> {
  return new Set(streams.length > 0 ? streams : [OutputStream.STDOUT, OutputStream.STDERR]);
}

/**
 * Returns the content of a request's cursor. Fails with CURSOR_INVALID if nap did not issue it for this
 * container and these streams, and with FIELD_INVALID if the request also sets another start.
 */
export function decodeLogCursor(request: StreamContainerLogsRequest, container: string): LogCursor {
  refuseOtherBeginnings(request);
  const parsed = cursorSchema.safeParse(jsonOf(request.cursor));
  if (!parsed.success) throw invalid("it is none that StreamContainerLogs gave", parsed.error);
  const [, id, runNanos, all] = parsed.data;
  if (id !== container) throw invalid("it is of another container");
  const positions = new Map<OutputStream, StreamPosition>(
    all.map(([stream, at, n, behind, floor]) => [
      stream,
      { nanos: BigInt(at), count: n, behind, floor: BigInt(floor) },
    ]),
  );
  const wanted = selectedStreams(request);
  if (positions.size !== wanted.size || [...wanted].some((stream) => !positions.has(stream))) {
    throw invalid("it is of other streams");
  }
  return { container, positions, runNanos: BigInt(runNanos) };
}

function refuseOtherBeginnings({ since, tailLines }: StreamContainerLogsRequest): void {
  const violations: FieldViolation[] = [];
  for (const [field, value] of [
    ["since", since],
    ["tail_lines", tailLines],
  ] as const) {
    const description = "must be unset where a cursor is given";
    if (value !== undefined) violations.push({ field, description, reason: "FIELD_INVALID" });
  }
  if (violations.length > 0) throw fieldError(violations);
}

function jsonOf(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, "base64url").toString());
  } catch {
    return undefined;
  }
}

function invalid(why: string, cause?: unknown): NapError {
  const violations = [{ field: "cursor", description: why, reason: "FIELD_INVALID" }] as const;
  return new NapError("CURSOR_INVALID", `cursor: ${why}`, { violations }, cause);
}

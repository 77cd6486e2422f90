/** Converts health checks between messages and dockerd's JSON. */
import { create } from "@bufbuild/protobuf";
import type { HealthCheck, HealthCheckResult } from "../../../../../gen/nap/v1/types_pb.js";
import { HealthCheckResultSchema, HealthCheckSchema } from "../../../../../gen/nap/v1/types_pb.js";
import type { HealthJson, HealthResultJson } from "../../json.js";
import { durationOfNanos } from "../../time.js";
import { durationNanos, timestampOf } from "../../../../lib/time.js";

/** Returns a health check in dockerd's request format. */
export function healthCheckToDocker(check: HealthCheck): HealthJson {
  const spans = {
    Interval: durationNanos(check.interval),
    Timeout: durationNanos(check.timeout),
    StartPeriod: durationNanos(check.startPeriod),
    StartInterval: durationNanos(check.startInterval),
    Retries: check.retries,
  };
  const set = Object.entries(spans).filter(([, value]) => value !== undefined);
  return { Test: test(check.check), ...Object.fromEntries(set) };
}

function test(check: HealthCheck["check"]): string[] {
  switch (check.case) {
    case "command":
      return ["CMD", ...check.value.arguments];
    case "shellCommand":
      return ["CMD-SHELL", check.value];
    default:
      return ["NONE"];
  }
}

/** A health check as dockerd reports it. Undefined: there is none. */
export function healthCheckFromDocker(
  json: HealthJson | null | undefined,
): HealthCheck | undefined {
  const [form, ...words] = json?.Test ?? [];
  if (json == null || form === undefined) return undefined;
  const spans = {
    interval: durationOfNanos(json.Interval),
    timeout: durationOfNanos(json.Timeout),
    startPeriod: durationOfNanos(json.StartPeriod),
    startInterval: durationOfNanos(json.StartInterval),
    ...(json.Retries && { retries: json.Retries }),
  };
  switch (form) {
    case "CMD":
      return create(HealthCheckSchema, {
        check: { case: "command", value: { arguments: words } },
        ...spans,
      });
    case "CMD-SHELL":
      return create(HealthCheckSchema, {
        check: { case: "shellCommand", value: words.join(" ") },
        ...spans,
      });
    default:
      return create(HealthCheckSchema, { check: { case: "disabled", value: {} }, ...spans });
  }
}

/** dockerd keeps so many bytes of the output of a health check, and marks what is cut by "...". */
const outputBytes = 4096;
const cutMark = "...";

/** One run of a health check. */
export function healthResultFromDocker(json: HealthResultJson): HealthCheckResult {
  const { Start, End, ExitCode: exitCode, Output } = json;
  const truncated =
    Output.endsWith(cutMark) && Buffer.byteLength(Output) >= outputBytes + cutMark.length;
  return create(HealthCheckResultSchema, {
    startTime: timestampOf(Start),
    endTime: timestampOf(End),
    exitCode,
    output: truncated ? Output.slice(0, -cutMark.length) : Output,
    truncated,
  });
}

/** Converts health probes between messages and dockerd's JSON. */
import { create } from "@bufbuild/protobuf";
import type { HealthProbe } from "../../../../../gen/nap/v1/types_pb.js";
import { HealthProbeSchema } from "../../../../../gen/nap/v1/types_pb.js";
import type { HealthJson } from "../../json.js";
import { durationOfNanos } from "../../time.js";
import { nanosOf } from "../../../../lib/time.js";

/** A health probe as dockerd takes it. */
export function healthProbeToDocker(probe: HealthProbe): HealthJson {
  const spans = {
    Interval: nanosOf(probe.interval),
    Timeout: nanosOf(probe.timeout),
    StartPeriod: nanosOf(probe.startPeriod),
    StartInterval: nanosOf(probe.startInterval),
    Retries: probe.retries,
  };
  const set = Object.entries(spans).filter(([, value]) => value !== undefined);
  return { Test: test(probe.probe), ...Object.fromEntries(set) };
}

function test(probe: HealthProbe["probe"]): string[] {
  switch (probe.case) {
    case "command":
      return ["CMD", ...probe.value.arguments];
    case "shellCommand":
      return ["CMD-SHELL", probe.value];
    default:
      return ["NONE"];
  }
}

/** A health probe as dockerd reports it. Undefined: there is none. */
export function healthProbeFromDocker(
  json: HealthJson | null | undefined,
): HealthProbe | undefined {
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
      return create(HealthProbeSchema, {
        probe: { case: "command", value: { arguments: words } },
        ...spans,
      });
    case "CMD-SHELL":
      return create(HealthProbeSchema, {
        probe: { case: "shellCommand", value: words.join(" ") },
        ...spans,
      });
    default:
      return create(HealthProbeSchema, { probe: { case: "disabled", value: {} }, ...spans });
  }
}

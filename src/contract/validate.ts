/** Checks a request against the rules that the contract declares on its fields (`rules.proto`). */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { getOption, hasOption } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import type { FieldRules } from "../../gen/nap/v1/rules_pb.js";
import { oneof_rules, rules } from "../../gen/nap/v1/rules_pb.js";
import type { FieldViolation } from "./errors.js";
import { namespaceViolations } from "./namespace-rules.js";
import { ownPrefix } from "./reserved-labels.js";
import { enumValues, fieldPath, walk } from "./walk.js";

/** The longest span that a protobuf Duration may hold, in seconds. */
const maxDurationSeconds = 315_576_000_000n;
/** The first and last second that a protobuf Timestamp may hold: years 1 and 9999. */
const timestampSeconds = { first: -62_135_596_800n, last: 253_402_300_799n };

/** Every violation of the contract in `request`, in the order of its fields. */
export function contractViolations(desc: DescMessage, request: Message): FieldViolation[] {
  return [...walk(desc, request)].flatMap((visit) => {
    const { path, message } = visit;
    return [
      ...unknownFields(path, message),
      ...wellKnownType(path, message),
      ...missingOneofs(path, message),
      ...message.fields.flatMap((field) => [...fieldViolations(path, message, field)]),
      ...namespaceViolations(visit),
    ];
  });
}

function invalid(field: string, description: string): FieldViolation {
  return { field, description, kind: "FIELD_INVALID" };
}

function* unknownFields(path: string, { message }: ReflectMessage): Generator<FieldViolation> {
  for (const { no } of message.$unknown ?? []) {
    const description = `this server knows no field number ${no} in ${message.$typeName}`;
    yield { field: fieldPath(path, String(no)), description, kind: "FIELD_UNKNOWN" };
  }
}

function* wellKnownType(
  path: string,
  { desc, message }: ReflectMessage,
): Generator<FieldViolation> {
  const isDuration = desc.typeName === "google.protobuf.Duration";
  if (!isDuration && desc.typeName !== "google.protobuf.Timestamp") return;
  const { seconds, nanos } = message as Message & { seconds: bigint; nanos: number };
  const { first, last } = isDuration ? { first: 0n, last: maxDurationSeconds } : timestampSeconds;
  if (seconds < first || seconds > last || nanos < 0 || nanos > 999_999_999) {
    yield invalid(path, isDuration ? "is not a span of 0 or more" : "is not a valid time");
  }
}

function* missingOneofs(path: string, message: ReflectMessage): Generator<FieldViolation> {
  for (const oneof of message.oneofs) {
    if (!hasOption(oneof, oneof_rules) || message.oneofCase(oneof) !== undefined) continue;
    if (!getOption(oneof, oneof_rules).required) continue;
    const members = oneof.fields.map((field) => field.name).join(", ");
    yield invalid(fieldPath(path, oneof.name), `one of ${members} is required`);
  }
}

function* fieldViolations(
  path: string,
  message: ReflectMessage,
  field: DescField,
): Generator<FieldViolation> {
  const at = fieldPath(path, field.name);
  for (const [where, value] of enumValues({ path: at, message, field })) {
    if (field.enum?.value[value] !== undefined) continue;
    yield invalid(where, `${field.enum?.typeName} has no value ${value}`);
  }
  if (field.name === "labels" && field.fieldKind === "map") {
    const own = [...message.get(field).keys()].find((key) => String(key).startsWith(ownPrefix));
    if (own !== undefined) yield invalid(at, `names that begin with ${ownPrefix} are nap's own`);
  }
  if (!hasOption(field, rules)) return;
  const bounds = getOption(field, rules);
  // A member of a oneof is required only where the oneof has chosen it.
  const chosen = field.oneof === undefined || message.isSet(field);
  if (bounds.required && chosen && isEmpty(message, field)) yield invalid(at, "is required");
  if (message.isSet(field)) yield* boundsViolations(at, message, field, bounds);
}

function isEmpty(message: ReflectMessage, field: DescField): boolean {
  if (!message.isSet(field)) return true;
  if (field.fieldKind !== "scalar") return false;
  const value = message.get(field);
  return value === "" || (value instanceof Uint8Array && value.length === 0);
}

function* boundsViolations(
  at: string,
  message: ReflectMessage,
  field: DescField,
  bounds: FieldRules,
): Generator<FieldViolation> {
  if (field.fieldKind === "list" || field.fieldKind === "map") {
    yield* collectionViolations(at, message, field, bounds);
  } else if (field.fieldKind === "scalar") {
    yield* scalarViolations(at, message.get(field), bounds);
  }
}

function* collectionViolations(
  at: string,
  message: ReflectMessage,
  field: DescField & { fieldKind: "list" | "map" },
  bounds: FieldRules,
): Generator<FieldViolation> {
  const isMap = field.fieldKind === "map";
  const entries: [string | number, unknown][] = isMap
    ? [...message.get(field)].map(([key, value]) => [JSON.stringify(key), value])
    : [...message.get(field)].map((value, index) => [index, value]);
  if (bounds.maxItems !== undefined && entries.length > bounds.maxItems) {
    yield invalid(at, `has ${entries.length} entries, more than ${bounds.maxItems}`);
    return;
  }
  for (const [key, value] of entries) {
    if (bounds.keys !== undefined) {
      yield* elementViolations(at, "a key", JSON.parse(String(key)), bounds.keys);
    }
    if (bounds.items !== undefined) {
      yield* elementViolations(`${at}[${key}]`, "", value, bounds.items);
    }
  }
}

function* elementViolations(
  at: string,
  what: string,
  value: unknown,
  bounds: FieldRules,
): Generator<FieldViolation> {
  const prefix = what === "" ? "" : `${what} `;
  if (bounds.required && (value === "" || value === 0)) {
    yield invalid(at, `${prefix}must not be ${value === "" ? "empty" : "unspecified"}`);
  }
  for (const found of scalarViolations(at, value, bounds)) {
    yield { ...found, description: prefix + found.description };
  }
}

function* scalarViolations(
  at: string,
  value: unknown,
  bounds: FieldRules,
): Generator<FieldViolation> {
  if (typeof value === "number" || typeof value === "bigint") {
    if (bounds.minimum !== undefined && value < bounds.minimum) {
      yield invalid(at, `must be at least ${bounds.minimum}`);
    }
    if (bounds.maximum !== undefined && value > bounds.maximum) {
      yield invalid(at, `must be at most ${bounds.maximum}`);
    }
  } else if (typeof value === "string") {
    if (bounds.maxLength !== undefined && codePoints(value) > bounds.maxLength) {
      yield invalid(at, `must have at most ${bounds.maxLength} characters`);
    }
    if (bounds.pattern !== "" && value !== "" && !matches(bounds.pattern, value)) {
      yield invalid(at, `must match ${bounds.pattern}`);
    }
  } else if (value instanceof Uint8Array) {
    if (bounds.maxLength !== undefined && value.length > bounds.maxLength) {
      yield invalid(at, `must have at most ${bounds.maxLength} bytes`);
    }
  }
}

function codePoints(value: string): number {
  let count = 0;
  for (const _ of value) count++;
  return count;
}

function matches(pattern: string, value: string): boolean {
  return new RegExp(`^(?:${pattern})$`, "u").test(value);
}

/** Checks a request against the rules that the contract declares on its fields (`rules.proto`). */
import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { disagreements } from "./agreement.js";
import type { FieldViolation } from "../errors.js";
import { namespaceViolations } from "./namespace-rules.js";
import { internalLabelPrefix } from "../reserved-labels.js";
import { enumValues, fieldPath, walk } from "../walk.js";
import type { Bounds, RuledField, RuledMessage, RuleTable } from "./rules.js";
import { tooManyItems } from "./rules.js";
import { unknownFieldText } from "./wire-bounds.js";

/** The longest span that a protobuf Duration may hold, in seconds. */
const maxDurationSeconds = 315_576_000_000n;
/** The first and last second that a protobuf Timestamp may hold: years 1 and 9999. */
const timestampSeconds = { first: -62_135_596_800n, last: 253_402_300_799n };

/**
 * Yields every violation of the contract in `request`, in the order of its fields. The check is lazy, so
 * that a caller that has enough violations ends it.
 */
export function* contractViolations(
  table: RuleTable,
  desc: DescMessage,
  request: Message,
): Generator<FieldViolation> {
  for (const visit of walk(desc, request)) {
    const { path, message } = visit;
    const ruled = table.of(message.desc);
    yield* unknownFields(path, message);
    yield* wellKnownType(path, message);
    yield* missingOneofs(path, message, ruled);
    yield* disagreements(path, message.message);
    for (const field of ruled.fields) yield* fieldViolations(path, message, field);
    yield* namespaceViolations(visit);
  }
}

function invalid(field: string, description: string): FieldViolation {
  return { field, description, reason: "FIELD_INVALID" };
}

function* unknownFields(path: string, { message }: ReflectMessage): Generator<FieldViolation> {
  for (const { no } of message.$unknown ?? []) {
    const description = unknownFieldText(no, message.$typeName);
    yield { field: fieldPath(path, String(no)), description, reason: "FIELD_UNKNOWN" };
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

function* missingOneofs(
  path: string,
  message: ReflectMessage,
  { requiredOneofs }: RuledMessage,
): Generator<FieldViolation> {
  for (const oneof of requiredOneofs) {
    if (message.oneofCase(oneof) !== undefined) continue;
    const members = oneof.fields.map((field) => field.name).join(", ");
    yield invalid(fieldPath(path, oneof.name), `one of ${members} is required`);
  }
}

function* fieldViolations(
  path: string,
  message: ReflectMessage,
  field: RuledField,
): Generator<FieldViolation> {
  const { desc, bounds } = field;
  const isSet = message.isSet(desc);
  // A member of a oneof is required only where the oneof has chosen it.
  const chosen = desc.oneof === undefined || isSet;
  const at = fieldPath(path, desc.name);
  if (bounds?.required && chosen && isEmpty(message, field, isSet)) {
    yield invalid(at, "is required");
  }
  if (!isSet) return;
  if (desc.fieldKind === "list" || desc.fieldKind === "map") {
    yield* collectionViolations(at, message, field);
  } else if (desc.fieldKind === "enum") {
    yield* unnamedValues(at, message, field);
  } else if (desc.fieldKind === "scalar" && bounds !== undefined) {
    yield* scalarViolations(at, message.get(desc), bounds);
  }
}

function* unnamedValues(
  at: string,
  message: ReflectMessage,
  { desc }: RuledField,
): Generator<FieldViolation> {
  for (const [where, value] of enumValues({ path: at, message, field: desc })) {
    if (desc.enum?.value[value] !== undefined) continue;
    yield invalid(where, `${desc.enum?.typeName} has no value ${value}`);
  }
}

function isEmpty(message: ReflectMessage, { desc }: RuledField, isSet: boolean): boolean {
  if (!isSet) return true;
  if (desc.fieldKind !== "scalar") return false;
  const value = message.get(desc);
  return value === "" || (value instanceof Uint8Array && value.length === 0);
}

function* collectionViolations(
  at: string,
  message: ReflectMessage,
  field: RuledField,
): Generator<FieldViolation> {
  const { desc, items, keys, maxItems } = field;
  if (desc.fieldKind !== "list" && desc.fieldKind !== "map") return;
  const collection = message.get(desc);
  if (collection.size > maxItems) {
    yield invalid(at, tooManyItems(field));
    return;
  }
  yield* unnamedValues(at, message, field);
  const isMap = desc.fieldKind === "map";
  if (isMap && desc.name === "labels") {
    const own = [...message.get(desc).keys()].some((key) =>
      String(key).startsWith(internalLabelPrefix),
    );
    if (own) yield invalid(at, `names that begin with ${internalLabelPrefix} are nap's own`);
  }
  if (items === undefined && keys === undefined) return;
  for (const [key, value] of collection.entries() as Iterable<[string | number, unknown]>) {
    if (keys !== undefined && !isWithin(key, keys)) {
      yield* elementViolations(at, "a key ", key, keys);
    }
    if (items !== undefined && !isWithin(value, items)) {
      yield* elementViolations(`${at}[${isMap ? JSON.stringify(key) : key}]`, "", value, items);
    }
  }
}

function* elementViolations(
  at: string,
  prefix: string,
  value: unknown,
  bounds: Bounds,
): Generator<FieldViolation> {
  if (bounds.required && (value === "" || value === 0)) {
    yield invalid(at, `${prefix}must not be ${value === "" ? "empty" : "unspecified"}`);
  }
  for (const found of scalarViolations(at, value, bounds)) {
    yield { ...found, description: prefix + found.description };
  }
}

function isWithin(value: unknown, bounds: Bounds): boolean {
  return (
    !(bounds.required && (value === "" || value === 0)) && brokenBounds(value, bounds) === none
  );
}

function* scalarViolations(at: string, value: unknown, bounds: Bounds): Generator<FieldViolation> {
  for (const description of brokenBounds(value, bounds)) yield invalid(at, description);
}

const none: readonly string[] = [];

/** Returns descriptions of what is wrong with a value; {@link none} if nothing is. */
function brokenBounds(value: unknown, bounds: Bounds): readonly string[] {
  const { minimum, maximum, maxLength, pattern } = bounds;
  if (typeof value === "number" || typeof value === "bigint") {
    if (minimum !== undefined && value < minimum) return [`must be at least ${minimum}`];
    if (maximum !== undefined && value > maximum) return [`must be at most ${maximum}`];
  } else if (typeof value === "string") {
    const isLong = maxLength !== undefined && hasMoreCodePoints(value, maxLength);
    const fits = pattern === undefined || value === "" || pattern.whole.test(value);
    if (!isLong && fits) return none;
    return [
      ...(isLong ? [`must have at most ${maxLength} characters`] : none),
      ...(fits ? none : [`must match ${pattern.text}`]),
    ];
  } else if (value instanceof Uint8Array) {
    if (maxLength !== undefined && value.length > maxLength) {
      return [`must have at most ${maxLength} bytes`];
    }
  }
  return none;
}

function hasMoreCodePoints(value: string, most: number): boolean {
  // A code point has one or two UTF-16 code units.
  if (value.length <= most) return false;
  if (value.length > 2 * most) return true;
  let count = 0;
  for (const _ of value) count++;
  return count > most;
}

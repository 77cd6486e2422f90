/**
 * Compares a requested message with the one that an engine reports, so that no field is dropped silently.
 *
 * Fields that an engine added are not reported. Each engine defines which differing values are equivalent.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { create, equals } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { reflect } from "@bufbuild/protobuf/reflect";
import { fieldName } from "./unsupported.js";
import { fieldPath } from "./walk.js";

/** A field that was requested and is reported differently; `got` is undefined if it is not reported. */
export interface Difference {
  /** The field's full name, for example `nap.v1.ContainerSpec.tty`. */
  readonly name: string;
  /** The keys of the field, as in a `Visit`, for example `nap.v1.Namespaces.pid.isolated`. */
  readonly keys: readonly string[];
  /** The value of a scalar, or the message if it is compared as a whole or has no fields set. */
  readonly wanted: unknown;
  readonly got: unknown;
  /**
   * True for a member of a oneof or an entry of a collection, whose presence has a meaning whatever its
   * value.
   */
  readonly chosen: boolean;
}

/** An engine's definition of values that are equivalent. */
export interface Equivalences {
  /** Returns whether the two values are equivalent. */
  isSame(difference: Difference): boolean;
  /** Full names of messages that are compared as a whole. Those of google.protobuf always are. */
  readonly whole: ReadonlySet<string>;
  /** Full names of lists whose order matters. Entries of other lists only have to be present. */
  readonly ordered: ReadonlySet<string>;
}

/** Returns the paths of the fields that are set in `wanted` and missing or changed in `got`. */
export function lostFields(
  desc: DescMessage,
  wanted: Message,
  got: Message | undefined,
  equivalences: Equivalences,
  path = "",
): string[] {
  const present = got ?? create(desc);
  return [...lostIn(path, [], reflect(desc, wanted), reflect(desc, present), equivalences)];
}

/** `above` are the keys of the field that holds the messages. */
function* lostIn(
  path: string,
  above: readonly string[],
  wanted: ReflectMessage,
  got: ReflectMessage,
  equivalences: Equivalences,
): Generator<string> {
  for (const field of wanted.fields) {
    if (!wanted.isSet(field)) continue;
    const keys = [...above, wanted.desc.typeName].map((key) => `${key}.${field.name}`);
    yield* lostField(fieldPath(path, field.name), keys, field, wanted, got, equivalences);
  }
}

function* lostField(
  at: string,
  keys: readonly string[],
  field: DescField,
  wanted: ReflectMessage,
  got: ReflectMessage,
  equivalences: Equivalences,
): Generator<string> {
  const differs = (value: unknown, found: unknown): boolean =>
    value !== found &&
    !equivalences.isSame({
      name: fieldName(field),
      keys,
      wanted: value,
      got: found,
      chosen: field.oneof !== undefined || field.fieldKind === "list" || field.fieldKind === "map",
    });
  switch (field.fieldKind) {
    case "message": {
      const value = wanted.get(field);
      const found = got.isSet(field) ? got.get(field) : undefined;
      if (isWhole(field.message, equivalences) || !value.fields.some((part) => value.isSet(part))) {
        const same = found !== undefined && holds(value, found, equivalences);
        if (!same && differs(value.message, found?.message)) yield at;
        return;
      }
      yield* lostIn(at, keys, value, found ?? reflect(field.message), equivalences);
      return;
    }
    case "list": {
      const values = [...wanted.get(field)];
      const found = [...got.get(field)];
      if (field.listKind === "message") {
        yield* lostMessages(
          at,
          keys,
          values as ReflectMessage[],
          found as ReflectMessage[],
          equivalences,
        );
      } else if (equivalences.ordered.has(fieldName(field))) {
        const same =
          values.length === found.length && values.every((v, i) => !differs(v, found[i]));
        if (!same) yield at;
      } else {
        for (const [index, value] of values.entries()) {
          if (found.every((other) => differs(value, other))) yield `${at}[${index}]`;
        }
      }
      return;
    }
    case "map": {
      const found = got.get(field);
      for (const [key, value] of wanted.get(field)) {
        const other: unknown = found.get(key);
        if (differs(value, other)) yield `${at}[${JSON.stringify(key)}]`;
      }
      return;
    }
    default: {
      const found: unknown = got.isSet(field) ? got.get(field) : undefined;
      if (differs(wanted.get(field), found)) yield at;
    }
  }
}

function isWhole(desc: DescMessage, equivalences: Equivalences): boolean {
  return desc.typeName.startsWith("google.protobuf.") || equivalences.whole.has(desc.typeName);
}

/** Returns whether a message that is compared as a whole, or has no fields set, is reported. */
function holds(wanted: ReflectMessage, got: ReflectMessage, equivalences: Equivalences): boolean {
  // An engine may have set fields of an empty message.
  if (!isWhole(wanted.desc, equivalences)) return !isEmptyList(wanted, got);
  return equals(wanted.desc, wanted.message, got.message);
}

/** Returns whether a list that was requested to be empty, in a wrapper message, is not empty. */
function isEmptyList({ fields }: ReflectMessage, got: ReflectMessage): boolean {
  const [only, ...further] = fields;
  return only?.fieldKind === "list" && further.length === 0 && got.isSet(only);
}

/** Matches each message with one that contains all of it, or else with the most similar one. */
function* lostMessages(
  at: string,
  keys: readonly string[],
  wanted: readonly ReflectMessage[],
  got: readonly ReflectMessage[],
  equivalences: Equivalences,
): Generator<string> {
  const left = [...got];
  const unmatched: [index: number, value: ReflectMessage][] = [];
  for (const [index, value] of wanted.entries()) {
    const match = left.findIndex(
      (other) => [...lostIn("", keys, value, other, equivalences)].length === 0,
    );
    if (match < 0) unmatched.push([index, value]);
    else left.splice(match, 1);
  }
  for (const [index, value] of unmatched) {
    const where = `${at}[${index}]`;
    const losses = left.map((other) => [...lostIn(where, keys, value, other, equivalences)]);
    const least = losses.toSorted((a, b) => a.length - b.length)[0];
    if (least !== undefined) left.splice(losses.indexOf(least), 1);
    yield* least ?? [where];
  }
}

/**
 * Compares what was asked for with what an engine reports of it, so that nothing is dropped unseen.
 *
 * What an engine added is no loss. Which differences are only another way of writing the same, the
 * engine knows.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { create, equals } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { reflect } from "@bufbuild/protobuf/reflect";
import { fieldName } from "./unsupported.js";
import { fieldPath } from "./walk.js";

/** A field that was asked for and came back otherwise. Undefined: it did not come back. */
export interface Difference {
  /** The field's full name, for example `nap.v1.ContainerSpec.tty`. */
  readonly name: string;
  /** The paths of types to the field, as in a `Visit`: `nap.v1.Namespaces.pid.isolated` is one. */
  readonly keys: readonly string[];
  /** The value of a scalar, or the message where it is compared as a whole or has no fields set. */
  readonly wanted: unknown;
  readonly got: unknown;
  /** It is the choice of a oneof or an entry of a collection: it says something whatever its value. */
  readonly chosen: boolean;
}

/** What an engine knows of the ways in which it writes the same thing. */
export interface Equivalences {
  /** Whether a difference is none. */
  isSame(difference: Difference): boolean;
  /** Full names of messages that are compared as a whole. Those of google.protobuf always are. */
  readonly whole: ReadonlySet<string>;
  /** Full names of lists whose order counts. The entries of others only have to be there. */
  readonly ordered: ReadonlySet<string>;
}

/** The paths of the fields that are set in `wanted`, and lost or changed in `got`. */
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

/** Whether a message that is compared as a whole came back, or one without fields. */
function holds(wanted: ReflectMessage, got: ReflectMessage, equivalences: Equivalences): boolean {
  // Of a message that may have fields and has none, an engine may have set some.
  if (!isWhole(wanted.desc, equivalences)) return !isEmptyList(wanted, got);
  return equals(wanted.desc, wanted.message, got.message);
}

/** A list that was asked to be empty, in a message of its own so that it can be, and is not. */
function isEmptyList({ fields }: ReflectMessage, got: ReflectMessage): boolean {
  const [only, ...further] = fields;
  return only?.fieldKind === "list" && further.length === 0 && got.isSet(only);
}

/** Each message goes with one that holds all of it, where there is one, else with the most like it. */
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

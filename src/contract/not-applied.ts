/**
 * Compares a requested message with the one that an engine reports, so that no field is dropped silently.
 *
 * Fields that an engine added are not reported. Each engine defines which differing values are equivalent.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { create, equals, toBinary } from "@bufbuild/protobuf";
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
  /** Full names of lists of messages in which a repeated entry asks for nothing more. */
  readonly sets: ReadonlySet<string>;
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
        const messages = values as ReflectMessage[];
        yield* lostMessages(
          at,
          keys,
          equivalences.sets.has(fieldName(field)) ? withoutRepetitions(messages) : messages,
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

/** Returns the messages without those that are equal to one before them. */
function withoutRepetitions(messages: readonly ReflectMessage[]): ReflectMessage[] {
  const seen = new Set<string>();
  return messages.filter(({ desc, message }) => {
    const bytes = Buffer.from(toBinary(desc, message)).toString("base64");
    return !seen.has(bytes) && seen.add(bytes);
  });
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

/**
 * Yields what is lost of a list of messages whose order does not matter. Each wanted entry is paired with a
 * reported one: first with one that has all of its values, found by an index, since lists of thousands of
 * ports come back in another order; then with the one among those of the same identity that lacks least.
 */
function* lostMessages(
  at: string,
  keys: readonly string[],
  wanted: readonly ReflectMessage[],
  got: readonly ReflectMessage[],
  equivalences: Equivalences,
): Generator<string> {
  const left = new UnpairedMessages(got);
  const lossesOf = (where: string, value: ReflectMessage, other: ReflectMessage): string[] => [
    ...lostIn(where, keys, value, other, equivalences),
  ];
  const unmatched: [index: number, value: ReflectMessage][] = [];
  for (const [index, value] of wanted.entries()) {
    if (left.takeEqual(value)) continue;
    const whole = left.candidates(value).find((other) => lossesOf("", value, other).length === 0);
    if (whole === undefined) unmatched.push([index, value]);
    else left.take(whole);
  }
  for (const [index, value] of unmatched) {
    const where = `${at}[${index}]`;
    const compared = left.candidates(value).map((other) => ({
      other,
      losses: lossesOf(where, value, other),
    }));
    const [least] = compared.toSorted((a, b) => a.losses.length - b.losses.length);
    if (least !== undefined) left.take(least.other);
    yield* least?.losses ?? [where];
  }
}

/** The largest number of entries of another identity with which an entry is compared. */
const maxStrangers = 64;

/** The reported entries of a list that have not been paired with a wanted one. */
class UnpairedMessages {
  readonly #left: Set<ReflectMessage>;
  /** The entries by their values of some fields, for each combination of fields that was asked for. */
  readonly #indexes = new Map<string, Map<string, ReflectMessage[]>>();

  constructor(messages: readonly ReflectMessage[]) {
    this.#left = new Set(messages);
  }

  /** Takes an entry that has all values of `wanted`, which has scalars alone. Returns whether there is one. */
  takeEqual(wanted: ReflectMessage): boolean {
    const fields = wanted.fields.filter((field) => wanted.isSet(field));
    const values = valuesOf(wanted, fields);
    if (values === undefined) return false;
    const found = this.#withValues(fields, values).find((other) => this.#left.has(other));
    return found !== undefined && this.#left.delete(found);
  }

  take(message: ReflectMessage): void {
    this.#left.delete(message);
  }

  /** Returns the entries with which an entry may be paired: those of its identity, or a few others. */
  candidates(wanted: ReflectMessage): ReflectMessage[] {
    const identity = wanted.fields.find(
      (field) => field.fieldKind === "scalar" && wanted.isSet(field),
    );
    const values = identity && valuesOf(wanted, [identity]);
    const same = identity && values !== undefined ? this.#withValues([identity], values) : [];
    const left = same.filter((other) => this.#left.has(other));
    if (left.length > 0) return left;
    return [...this.#left].slice(0, maxStrangers);
  }

  #withValues(fields: readonly DescField[], values: string): readonly ReflectMessage[] {
    const names = fields.map(({ number }) => number).join();
    let index = this.#indexes.get(names);
    if (index === undefined) {
      this.#indexes.set(names, (index = new Map()));
      for (const message of this.#left) {
        const own = valuesOf(message, fields);
        if (own === undefined) continue;
        const same = index.get(own);
        if (same === undefined) index.set(own, [message]);
        else same.push(message);
      }
    }
    return index.get(values) ?? [];
  }
}

/** Returns the values of some fields as one text; undefined where one of them is no scalar or enum. */
function valuesOf(message: ReflectMessage, fields: readonly DescField[]): string | undefined {
  const values: string[] = [];
  for (const field of fields) {
    if (field.fieldKind !== "scalar" && field.fieldKind !== "enum") return undefined;
    const value: unknown = message.isSet(field) ? message.get(field) : undefined;
    values.push(value instanceof Uint8Array ? Buffer.from(value).toString("hex") : String(value));
  }
  return JSON.stringify(values);
}

/** Messages for property tests, made after the descriptors and the rules of the contract. */
import type { DescField, DescMessage, DescOneof, Message } from "@bufbuild/protobuf";
import { create, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import type { FieldRules } from "../../../gen/nap/v1/rules_pb.js";
import { oneof_rules, rules } from "../../../gen/nap/v1/rules_pb.js";
import { fieldName } from "../../../src/contract/unsupported.js";
import type { UnsupportedFeatures } from "../../../src/contract/unsupported.js";
import { byKey } from "../../../src/contract/walk.js";

/** What a generator knows beside the contract. */
export interface Generation {
  /** Fields and values that are left out, as an engine's support table names them. */
  readonly support: UnsupportedFeatures;
  /** Patterns and values of single fields, where an engine wants more than the contract says. */
  readonly values: Readonly<Record<string, fc.Arbitrary<unknown>>>;
  /** Changes of a message, by its full name, that make it agree with itself. */
  readonly mend: Readonly<Record<string, (message: never) => void>>;
}

/** The most that a number of bytes may be: JavaScript's numbers are exact to 2^53. */
const most = 2n ** 50n;

/** Any valid message of a type. `above` are the keys of the field that holds it. */
export function messages(
  desc: DescMessage,
  generation: Generation,
  above: readonly string[] = [],
): fc.Arbitrary<Message> {
  const own = generation.values[desc.typeName];
  if (own !== undefined) return own as fc.Arbitrary<Message>;
  const keys = [...above, desc.typeName];
  const left = (field: DescField): boolean =>
    byKey(generation.support.fields, keysIn(keys, field)) === undefined;
  const single = desc.fields.filter((field) => field.oneof === undefined && left(field));
  const parts = [
    ...single.map((field) => fieldValues(field, generation, keysIn(keys, field))),
    ...desc.oneofs.map((oneof) => choices(oneof, oneof.fields.filter(left), generation, keys)),
  ];
  return fc.tuple(...parts).map((entries) => {
    const message = create(desc, Object.fromEntries(entries.flat(1)) as never);
    generation.mend[desc.typeName]?.(message as never);
    return message;
  });
}

function keysIn(keys: readonly string[], { name }: DescField): string[] {
  return keys.map((key) => `${key}.${name}`);
}

type Entries = [name: string, value: unknown][];

function choices(
  oneof: DescOneof,
  fields: readonly DescField[],
  generation: Generation,
  keys: readonly string[],
): fc.Arbitrary<Entries> {
  const required = hasOption(oneof, oneof_rules) && getOption(oneof, oneof_rules).required;
  const set = fields.map((field) =>
    one(field, boundsOf(field), generation, keysIn(keys, field)).map((value): Entries => [
      [oneof.localName, { case: field.localName, value }],
    ]),
  );
  return fc.oneof(...(required ? [] : [fc.constant<Entries>([])]), ...set);
}

function fieldValues(
  field: DescField,
  generation: Generation,
  keys: readonly string[],
): fc.Arbitrary<Entries> {
  const bounds = boundsOf(field);
  const set = collection(field, bounds, generation, keys).map((value): Entries => [
    [field.localName, value],
  ]);
  return bounds?.required ? set : fc.oneof({ weight: 2, arbitrary: fc.constant<Entries>([]) }, set);
}

function boundsOf(field: DescField): FieldRules | undefined {
  return hasOption(field, rules) ? getOption(field, rules) : undefined;
}

function collection(
  field: DescField,
  bounds: FieldRules | undefined,
  generation: Generation,
  keys: readonly string[],
): fc.Arbitrary<unknown> {
  const size = { minLength: bounds?.required ? 1 : 0, maxLength: 3 };
  const whole = generation.values[`${fieldName(field)}[]`];
  if (whole !== undefined) return whole;
  if (field.fieldKind === "list")
    return fc.array(one(field, bounds?.items, generation, keys), size);
  if (field.fieldKind !== "map") return one(field, bounds, generation, keys);
  const own = generation.values[`${fieldName(field)}.key`];
  const key = (own as fc.Arbitrary<string> | undefined) ?? text(bounds?.keys);
  const entry = fc.tuple(
    key.filter((name) => name !== "__proto__" && !name.startsWith("nap.v1.")),
    text(bounds?.items),
  );
  return fc.array(entry, size).map((entries) => Object.fromEntries(entries));
}

function one(
  field: DescField,
  bounds: FieldRules | undefined,
  generation: Generation,
  keys: readonly string[],
): fc.Arbitrary<unknown> {
  const own = generation.values[fieldName(field)];
  if (own !== undefined) return own;
  if (field.message) return messages(field.message, generation, keys);
  if (field.enum) {
    const refused = byKey(generation.support.values, keys);
    const named = field.enum.values.filter(
      ({ name, number }) => number > 0 && refused?.has(name) !== true,
    );
    return fc.constantFrom(...named.map(({ number }) => number));
  }
  switch (field.scalar) {
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.STRING:
      return text(bounds);
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return fc.bigInt({
        min: bounds?.minimum ?? (bounds?.required ? 1n : 0n),
        max: bounds?.maximum ?? most,
      });
    default:
      return fc.integer({
        min: Number(bounds?.minimum ?? (bounds?.required ? 1n : 0n)),
        max: Number(bounds?.maximum ?? 2n ** 31n - 1n),
      });
  }
}

/** Any text that keeps the bounds; JSON has no lone surrogates. */
function text(bounds: FieldRules | undefined): fc.Arbitrary<string> {
  const most = Math.min(bounds?.maxLength ?? 20, 20);
  const any =
    bounds === undefined || bounds.pattern === ""
      ? fc.string({ unit: "binary", maxLength: most })
      : fc.stringMatching(new RegExp(`^(?:${bounds.pattern})$`, "u"), { size: "xsmall" });
  return any.filter(
    (value) =>
      !/\p{Surrogate}/u.test(value) &&
      Array.from(value).length <= (bounds?.maxLength ?? Infinity) &&
      !(bounds?.required && value === ""),
  );
}

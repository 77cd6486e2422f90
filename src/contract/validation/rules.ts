/** The rules that the contract declares on the fields of a message, computed once for each message. */
import type { DescField, DescMessage, DescOneof } from "@bufbuild/protobuf";
import { getOption, hasOption } from "@bufbuild/protobuf";
import type { FieldRules } from "../../../gen/nap/v1/rules_pb.js";
import { oneof_rules, rules } from "../../../gen/nap/v1/rules_pb.js";

/**
 * The maximum number of entries of a list or map without max_items. It is lower for messages, which cost
 * more to decode and check.
 */
export const defaultMaxItems = { messages: 1024, others: 4096 } as const;

/** The bounds of a value. */
export interface Bounds extends Pick<FieldRules, "required" | "minimum" | "maximum" | "maxLength"> {
  /** The regular expression of the contract, and its form that is anchored to the whole value. */
  readonly pattern: { readonly text: string; readonly whole: RegExp } | undefined;
}

/** A field and its rules. */
export interface RuledField {
  readonly desc: DescField;
  /** Undefined if the contract declares none. */
  readonly bounds: Bounds | undefined;
  readonly items: Bounds | undefined;
  readonly keys: Bounds | undefined;
  /** The maximum number of entries of a list or map. */
  readonly maxItems: number;
  /** The index of a list or map among those of its message; -1 for other fields. */
  readonly collection: number;
}

/** A message and the rules of its fields. */
export interface RuledMessage {
  readonly fields: readonly RuledField[];
  readonly byNumber: ReadonlyMap<number, RuledField>;
  readonly requiredOneofs: readonly DescOneof[];
  /** The fields whose values are secrets. */
  readonly secrets: readonly DescField[];
  /** How many of the fields are lists or maps. */
  readonly collections: number;
}

/** The rules of messages, computed on first use. */
export class RuleTable {
  readonly #messages = new Map<DescMessage, RuledMessage>();

  of(desc: DescMessage): RuledMessage {
    let found = this.#messages.get(desc);
    if (found === undefined) this.#messages.set(desc, (found = ruledMessage(desc)));
    return found;
  }
}

function ruledMessage(desc: DescMessage): RuledMessage {
  let collections = 0;
  const fields = desc.fields.map((field) =>
    ruledField(field, isCollection(field) ? collections++ : -1),
  );
  const requiredOneofs = desc.oneofs.filter(
    (oneof) => hasOption(oneof, oneof_rules) && getOption(oneof, oneof_rules).required,
  );
  const byNumber = new Map(fields.map((field) => [field.desc.number, field]));
  const secrets = desc.fields.filter(
    (field) => hasOption(field, rules) && getOption(field, rules).secret,
  );
  return { fields, byNumber, requiredOneofs, secrets, collections };
}

function ruledField(desc: DescField, collection: number): RuledField {
  const declared = hasOption(desc, rules) ? getOption(desc, rules) : undefined;
  return {
    desc,
    bounds: declared && boundsOf(declared),
    items: declared?.items && boundsOf(declared.items),
    keys: declared?.keys && boundsOf(declared.keys),
    maxItems:
      declared?.maxItems ?? defaultMaxItems[desc.message === undefined ? "others" : "messages"],
    collection,
  };
}

function isCollection({ fieldKind }: DescField): boolean {
  return fieldKind === "list" || fieldKind === "map";
}

function boundsOf({ required, minimum, maximum, maxLength, pattern }: FieldRules): Bounds {
  const whole = pattern === "" ? undefined : new RegExp(`^(?:${pattern})$`, "u");
  return {
    required,
    pattern: whole && { text: pattern, whole },
    ...(minimum !== undefined && { minimum }),
    ...(maximum !== undefined && { maximum }),
    ...(maxLength !== undefined && { maxLength }),
  };
}

/** Returns the description of the violation for a list or map with too many entries. */
export function tooManyItems({ maxItems }: RuledField): string {
  return `has more than ${maxItems} entries`;
}

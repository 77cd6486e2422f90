/**
 * The privileged fields of a request, for the check of what its caller may do.
 *
 * A field without a class counts as privileged: what the contract gains is closed until somebody has
 * thought about it.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { AccessClass } from "./access-classes.js";
import { accessClasses } from "./access-classes.js";
import type { FieldVisit } from "../contract/walk.js";
import { byKey, walkFields } from "../contract/walk.js";

/**
 * Whether a field holds messages that are looked into, so that its own class is that of their fields.
 * One that is privileged as a whole is not: there, an empty message says something, too. `keys` are the
 * field's, as {@link walkFields} gives them.
 */
export function isTraversed({ message }: DescField, keys: readonly string[]): boolean {
  if (message === undefined || message.fields.length === 0) return false;
  return !message.typeName.startsWith("google.protobuf.") && !byKey(accessClasses, keys);
}

/**
 * The paths, such as `spec.security.privileged`, of everything privileged that a request sets. Each is
 * looked for when it is asked for.
 */
export function* privilegedFields(desc: DescMessage, request: Message): Generator<string> {
  const descend = ({ field, keys }: FieldVisit): boolean => isTraversed(field, keys);
  for (const visit of walkFields(desc, request, descend)) {
    if (!descend(visit)) yield* privilegedValues(visit);
  }
}

/** The keys of the fields of which some values have a class of their own. */
const keysByValue: ReadonlySet<string> = new Set(
  [...accessClasses.keys()].flatMap((key) =>
    key.includes("=") ? [key.slice(0, key.indexOf("="))] : [],
  ),
);

function classOf(keys: readonly string[], value: string | undefined): AccessClass {
  const each = keys.flatMap((key) => (value === undefined ? [key] : [`${key}=${value}`, key]));
  return byKey(accessClasses, each) ?? "privileged";
}

/** The places in a field of values that are privileged, as the table writes them. */
function* privilegedValues({ path, keys, message, field }: FieldVisit): Generator<string> {
  const byValue = keys.some((key) => keysByValue.has(key));
  if (!byValue && classOf(keys, undefined) !== "privileged") return;
  const isPrivileged = (value: unknown): boolean =>
    !byValue || classOf(keys, written(field, value)) === "privileged";
  if (field.fieldKind === "list" && field.listKind !== "message") {
    let index = 0;
    for (const value of message.get(field)) {
      if (isPrivileged(value)) yield `${path}[${index}]`;
      index++;
    }
  } else {
    const single = field.fieldKind === "scalar" || field.fieldKind === "enum";
    if (isPrivileged(single ? message.get(field) : undefined)) yield path;
  }
}

/** A value that can have a class of its own, as the table writes it. */
function written(field: DescField, value: unknown): string | undefined {
  if (field.enum !== undefined) return field.enum.value[Number(value)]?.name;
  return typeof value === "string" || typeof value === "boolean" ? String(value) : undefined;
}

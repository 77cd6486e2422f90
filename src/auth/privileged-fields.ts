/**
 * Finds the privileged fields of a request.
 *
 * A field without a class counts as privileged, so a new field of the contract is denied until it is
 * classified.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { AccessClass } from "./access-classes.js";
import { accessClasses } from "./access-classes.js";
import type { FieldVisit } from "../contract/walk.js";
import { byKey, walkFields } from "../contract/walk.js";

/**
 * Returns whether the walk descends into a field, whose class is then that of its nested fields. It does
 * not descend into a field that is privileged as a whole, since there an empty message has a meaning, too.
 * `keys` are those that {@link walkFields} passes.
 */
export function isTraversed({ message }: DescField, keys: readonly string[]): boolean {
  if (message === undefined || message.fields.length === 0) return false;
  return !message.typeName.startsWith("google.protobuf.") && !byKey(accessClasses, keys);
}

/**
 * Yields the path of every privileged field that a request sets, such as `spec.security.privileged`. The
 * walk is lazy.
 */
export function* privilegedFields(desc: DescMessage, request: Message): Generator<string> {
  const descend = ({ field, keys }: FieldVisit): boolean => isTraversed(field, keys);
  for (const visit of walkFields(desc, request, descend)) {
    if (!descend(visit)) yield* privilegedValues(visit);
  }
}

/** The keys of the fields some of whose values have a class of their own. */
const keysByValue: ReadonlySet<string> = new Set(
  [...accessClasses.keys()].flatMap((key) =>
    key.includes("=") ? [key.slice(0, key.indexOf("="))] : [],
  ),
);

function classOf(keys: readonly string[], value: string | undefined): AccessClass {
  const each = keys.flatMap((key) => (value === undefined ? [key] : [`${key}=${value}`, key]));
  return byKey(accessClasses, each) ?? "privileged";
}

/** Yields the paths of the privileged values in a field. */
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

/** Returns a value in the notation of the table, if it can have a class of its own. */
function written(field: DescField, value: unknown): string | undefined {
  if (field.enum !== undefined) return field.enum.value[Number(value)]?.name;
  return typeof value === "string" || typeof value === "boolean" ? String(value) : undefined;
}

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
export function isLookedInto({ message }: DescField, keys: readonly string[]): boolean {
  if (message === undefined || message.fields.length === 0) return false;
  return !message.typeName.startsWith("google.protobuf.") && !byKey(accessClasses, keys);
}

/** The paths, such as `spec.security.privileged`, of everything privileged that a request sets. */
export function privilegedFields(desc: DescMessage, request: Message): string[] {
  const descend = ({ field, keys }: FieldVisit): boolean => isLookedInto(field, keys);
  return [...walkFields(desc, request, descend)].flatMap((visit) =>
    descend(visit)
      ? []
      : [...valuesIn(visit)]
          .filter(([, value]) => classOf(visit.keys, value) === "privileged")
          .map(([where]) => where),
  );
}

function classOf(keys: readonly string[], value: string | undefined): AccessClass {
  const each = keys.flatMap((key) => (value === undefined ? [key] : [`${key}=${value}`, key]));
  return byKey(accessClasses, each) ?? "privileged";
}

/** The values of a field that can have a class of their own, as the table writes them. */
function* valuesIn({
  path,
  message,
  field,
}: FieldVisit): Generator<[path: string, value: string | undefined]> {
  const written = (value: unknown): string | undefined =>
    field.enum !== undefined
      ? field.enum.value[Number(value)]?.name
      : typeof value === "string" || typeof value === "boolean"
        ? String(value)
        : undefined;
  if (field.fieldKind === "list" && field.listKind !== "message") {
    let index = 0;
    for (const value of message.get(field)) yield [`${path}[${index++}]`, written(value)];
  } else {
    const single = field.fieldKind === "scalar" || field.fieldKind === "enum";
    yield [path, single ? written(message.get(field)) : undefined];
  }
}

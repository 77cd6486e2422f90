/**
 * The privileged fields of a request, for the check of what its caller may do.
 *
 * A field without a class counts as privileged: what the contract gains is closed until somebody has
 * thought about it.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { AccessClass } from "./access-classes.js";
import { accessClasses } from "./access-classes.js";
import { fieldName } from "../contract/unsupported.js";
import { fieldPath } from "../contract/walk.js";

/**
 * Whether a field holds messages that are looked into, so that its own class is that of their fields.
 * One that is privileged as a whole is not: there, an empty message says something, too.
 */
export function isLookedInto(field: DescField): boolean {
  const { message } = field;
  if (message === undefined || message.fields.length === 0) return false;
  return !message.typeName.startsWith("google.protobuf.") && !accessClasses.has(fieldName(field));
}

/**
 * The paths, such as `spec.security.privileged`, of everything privileged that a request sets. Each is
 * looked for when it is asked for.
 */
export function privilegedFields(desc: DescMessage, request: Message): Generator<string> {
  return privilegedIn("", reflect(desc, request));
}

function* privilegedIn(path: string, message: ReflectMessage): Generator<string> {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const at = fieldPath(path, field.name);
    if (isLookedInto(field)) {
      for (const [where, below] of messagesIn(at, message, field))
        yield* privilegedIn(where, below);
    } else {
      yield* privilegedValues(at, message, field);
    }
  }
}

/** The fields of which some values have a class of their own. */
const fieldsByValue: ReadonlySet<string> = new Set(
  [...accessClasses.keys()].flatMap((key) =>
    key.includes("=") ? [key.slice(0, key.indexOf("="))] : [],
  ),
);

function classOf(name: string, value: string | undefined): AccessClass {
  const ofValue = value === undefined ? undefined : accessClasses.get(`${name}=${value}`);
  return ofValue ?? accessClasses.get(name) ?? "privileged";
}

function* messagesIn(
  path: string,
  parent: ReflectMessage,
  field: DescField,
): Generator<[path: string, message: ReflectMessage]> {
  if (field.fieldKind === "message") {
    yield [path, parent.get(field)];
  } else if (field.fieldKind === "list") {
    let index = 0;
    for (const item of parent.get(field)) yield [`${path}[${index++}]`, item as ReflectMessage];
  } else if (field.fieldKind === "map") {
    for (const [key, value] of parent.get(field)) {
      yield [`${path}[${JSON.stringify(key)}]`, value as ReflectMessage];
    }
  }
}

/** The places in a field of values that are privileged, as the table writes them. */
function* privilegedValues(
  path: string,
  parent: ReflectMessage,
  field: DescField,
): Generator<string> {
  const name = fieldName(field);
  const byValue = fieldsByValue.has(name);
  if (!byValue && classOf(name, undefined) !== "privileged") return;
  const isPrivileged = (value: unknown): boolean =>
    !byValue || classOf(name, written(field, value)) === "privileged";
  if (field.fieldKind === "list" && field.listKind !== "message") {
    let index = 0;
    for (const value of parent.get(field)) {
      if (isPrivileged(value)) yield `${path}[${index}]`;
      index++;
    }
  } else {
    const single = field.fieldKind === "scalar" || field.fieldKind === "enum";
    if (isPrivileged(single ? parent.get(field) : undefined)) yield path;
  }
}

/** A value that can have a class of its own, as the table writes it. */
function written(field: DescField, value: unknown): string | undefined {
  if (field.enum !== undefined) return field.enum.value[Number(value)]?.name;
  return typeof value === "string" || typeof value === "boolean" ? String(value) : undefined;
}

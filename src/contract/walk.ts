/** Visits everything that is set in a message, with its path and its keys. */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { reflect } from "@bufbuild/protobuf/reflect";

/** A message inside a request. */
export interface Visit {
  /** The path from the root, empty for the root itself. */
  readonly path: string;
  /**
   * The path to this message from each message that contains it, by type name, from the root inwards. For
   * the user namespace of a spec: `nap.v1.ContainerSpec.namespaces.user`, `nap.v1.Namespaces.user` and
   * `nap.v1.Namespace`. An entry of a table keyed by them can apply to a field everywhere, or at one path
   * only.
   */
  readonly keys: readonly string[];
  readonly message: ReflectMessage;
}

/** A field that is set in a message inside a request. */
export interface FieldVisit extends Visit {
  readonly field: DescField;
}

/** Returns the path of a field of the message at `path`. */
export function fieldPath(path: string, field: string): string {
  return path === "" ? field : `${path}.${field}`;
}

/** Yields `message` and every message below it that is set, parents first, fields in their order. */
export function* walk(desc: DescMessage, message: Message): Generator<Visit> {
  yield* walkMessage(rootVisit(desc, message));
}

/**
 * Yields every field that is set, in the order of the fields, each before those below it. `path` and
 * `keys` are the field's own. Fields for which `descend` returns false are not entered; it is called after
 * the field has been yielded.
 */
export function* walkFields(
  desc: DescMessage,
  message: Message,
  descend: (visit: FieldVisit) => boolean,
): Generator<FieldVisit> {
  yield* fieldsIn(rootVisit(desc, message), descend);
}

/** Returns the entry of a table for a field: the one whose key begins at the outermost message. */
export function byKey<T>(table: ReadonlyMap<string, T>, keys: readonly string[]): T | undefined {
  for (const key of keys) {
    const entry = table.get(key);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

function rootVisit(desc: DescMessage, message: Message): Visit {
  return { path: "", keys: [desc.typeName], message: reflect(desc, message) };
}

function* walkMessage(visit: Visit): Generator<Visit> {
  yield visit;
  for (const field of setFields(visit)) {
    for (const below of messagesIn(field)) yield* walkMessage(below);
  }
}

function* fieldsIn(visit: Visit, descend: (visit: FieldVisit) => boolean): Generator<FieldVisit> {
  for (const field of setFields(visit)) {
    yield field;
    if (field.field.message === undefined || !descend(field)) continue;
    for (const below of messagesIn(field)) yield* fieldsIn(below, descend);
  }
}

function* setFields({ path, keys, message }: Visit): Generator<FieldVisit> {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const own = keys.map((key) => `${key}.${field.name}`);
    yield { path: fieldPath(path, field.name), keys: own, message, field };
  }
}

/** Yields the messages in a field: a single one, those of a list, or those of a map. */
function* messagesIn({ path, keys, message, field }: FieldVisit): Generator<Visit> {
  if (field.message === undefined) return;
  const below = (at: string, value: unknown): Visit => ({
    path: at,
    keys: [...keys, field.message?.typeName ?? ""],
    message: value as ReflectMessage,
  });
  if (field.fieldKind === "message") {
    yield below(path, message.get(field));
  } else if (field.fieldKind === "list") {
    let index = 0;
    for (const item of message.get(field)) yield below(`${path}[${index++}]`, item);
  } else if (field.fieldKind === "map") {
    for (const [key, value] of message.get(field)) {
      yield below(`${path}[${JSON.stringify(key)}]`, value);
    }
  }
}

/** Yields the enum values in a field, each with its path. */
export function* enumValues({
  path,
  message,
  field,
}: Omit<FieldVisit, "keys">): Generator<[path: string, value: number]> {
  if (field.fieldKind === "enum") {
    yield [path, message.get(field)];
  } else if (field.fieldKind === "list" && field.listKind === "enum") {
    let index = 0;
    for (const value of message.get(field)) yield [`${path}[${index++}]`, Number(value)];
  } else if (field.fieldKind === "map" && field.mapKind === "enum") {
    for (const [key, value] of message.get(field)) {
      yield [`${path}[${JSON.stringify(key)}]`, Number(value)];
    }
  }
}

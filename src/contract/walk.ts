/** Visits every message inside a message, with the path at which it stands. */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { reflect } from "@bufbuild/protobuf/reflect";

/** A message inside a request. */
export interface Visit {
  /** The path from the root, empty for the root itself. */
  readonly path: string;
  readonly message: ReflectMessage;
}

/** The path of a field of the message at `path`. */
export function fieldPath(path: string, field: string): string {
  return path === "" ? field : `${path}.${field}`;
}

/** Yields `message` and every message below it that is set, parents first, fields in their order. */
export function* walk(desc: DescMessage, message: Message): Generator<Visit> {
  yield* walkReflected("", reflect(desc, message));
}

function* walkReflected(path: string, message: ReflectMessage): Generator<Visit> {
  yield { path, message };
  for (const field of message.fields) {
    if (message.isSet(field)) yield* walkField(fieldPath(path, field.name), message, field);
  }
}

function* walkField(path: string, parent: ReflectMessage, field: DescField): Generator<Visit> {
  if (field.fieldKind === "message") {
    yield* walkReflected(path, parent.get(field));
  } else if (field.fieldKind === "list" && field.listKind === "message") {
    let index = 0;
    for (const item of parent.get(field)) {
      yield* walkReflected(`${path}[${index++}]`, item as ReflectMessage);
    }
  } else if (field.fieldKind === "map" && field.mapKind === "message") {
    for (const [key, value] of parent.get(field)) {
      yield* walkReflected(`${path}[${JSON.stringify(key)}]`, value as ReflectMessage);
    }
  }
}

/** The enum values in a field, each with its path. */
export function* enumValues(
  path: string,
  message: ReflectMessage,
  field: DescField,
): Generator<[path: string, value: number]> {
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

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

/**
 * Returns whether some field that the elements of a list or map of messages can have fits, by the descriptors
 * alone. Where none does, a walk need not enter the elements, however many a request has.
 */
export function someFieldBelow(
  { keys, field }: Pick<FieldVisit, "keys" | "field">,
  fits: (keys: readonly string[], field: DescField) => boolean,
  above: readonly DescMessage[] = [],
): boolean {
  const { message } = field;
  if (message === undefined || above.includes(message)) return false;
  return message.fields.some((each) => {
    const own = [...keys, message.typeName].map((key) => `${key}.${each.name}`);
    return fits(own, each) || someFieldBelow({ keys: own, field: each }, fits, [...above, message]);
  });
}

/** Returns whether a field has many messages, which are costly to enter. */
export function hasElements({ fieldKind }: DescField): boolean {
  return fieldKind === "list" || fieldKind === "map";
}

/** The entry of a table for a field: the one whose key begins at the outermost message. */
export function byKey<T>(table: ReadonlyMap<string, T>, keys: readonly string[]): T | undefined {
  for (const key of keys) {
    const entry = table.get(key);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

/**
 * The keys of a message's place in the types and of the fields in it. All elements of a list have one
 * place, so that keys are put together once for a field and not for each of its elements.
 */
class Place {
  readonly #fields = new Map<DescField, FieldPlace>();

  constructor(readonly keys: readonly string[]) {}

  field(field: DescField): FieldPlace {
    const known = this.#fields.get(field);
    if (known !== undefined) return known;
    const keys = this.keys.map((key) => `${key}.${field.name}`);
    const place = { keys, below: new Place([...keys, field.message?.typeName ?? ""]) };
    this.#fields.set(field, place);
    return place;
  }
}

interface FieldPlace {
  readonly keys: readonly string[];
  /** The place of the messages in the field. */
  readonly below: Place;
}

type PlacedVisit = Visit & { readonly place: Place };
type PlacedFieldVisit = FieldVisit & { readonly below: Place };

function rootVisit(desc: DescMessage, message: Message): PlacedVisit {
  const place = new Place([desc.typeName]);
  return { path: "", keys: place.keys, message: reflect(desc, message), place };
}

function* walkMessage(visit: PlacedVisit): Generator<Visit> {
  yield visit;
  for (const field of setFields(visit)) {
    for (const below of messagesIn(field)) yield* walkMessage(below);
  }
}

function* fieldsIn(
  visit: PlacedVisit,
  descend: (visit: FieldVisit) => boolean,
): Generator<FieldVisit> {
  for (const field of setFields(visit)) {
    yield field;
    if (field.field.message === undefined || !descend(field)) continue;
    for (const below of messagesIn(field)) yield* fieldsIn(below, descend);
  }
}

function* setFields({ path, message, place }: PlacedVisit): Generator<PlacedFieldVisit> {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const { keys, below } = place.field(field);
    yield { path: fieldPath(path, field.name), keys, message, field, below };
  }
}

/** The messages in a field: its own, those of its list, or those of its map. */
function* messagesIn({
  path,
  message,
  field,
  below: place,
}: PlacedFieldVisit): Generator<PlacedVisit> {
  if (field.message === undefined) return;
  const below = (at: string, value: unknown): PlacedVisit => ({
    path: at,
    keys: place.keys,
    message: value as ReflectMessage,
    place,
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

/**
 * The features that an engine does not support, as a table of fields and of single values of fields.
 *
 * The table drives the check that every request passes, `GetEngineCapabilities`, and the support matrix in
 * the documentation.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { FieldViolation } from "./errors.js";
import { byKey, enumValues, walkFields } from "./walk.js";

/** Why an engine rejects a field or a value, and what to do instead. */
export interface Unsupported {
  readonly reason: string;
  readonly alternative?: string;
}

/**
 * One entry of an engine's table. `field` is the path of a field from a message that contains it:
 * `nap.v1.Mount.image` is rejected in every Mount, `nap.v1.Namespaces.user.isolated.uids` only in the user
 * namespace. With `value`, the name of an enum value, only that value of the field is rejected.
 */
export interface UnsupportedEntry extends Unsupported {
  readonly field: string;
  readonly value?: string;
}

/** The fields and the values of fields that an engine rejects. It honours all others. */
export interface UnsupportedFeatures {
  readonly fields: ReadonlyMap<string, Unsupported>;
  /** The rejected values by field, then by name. */
  readonly values: ReadonlyMap<string, ReadonlyMap<string, Unsupported>>;
}

/** Returns the table of these entries. The last of several entries for one field or value applies. */
export function supportOf(entries: Iterable<UnsupportedEntry>): UnsupportedFeatures {
  const fields = new Map<string, Unsupported>();
  const values = new Map<string, Map<string, Unsupported>>();
  for (const { field, value, ...unsupported } of entries) {
    if (value === undefined) {
      fields.set(field, unsupported);
    } else {
      const known = values.get(field) ?? new Map<string, Unsupported>();
      values.set(field, known.set(value, unsupported));
    }
  }
  return { fields, values };
}

/** Returns the entries of a table, sorted by field and value. */
export function supportEntries({ fields, values }: UnsupportedFeatures): UnsupportedEntry[] {
  const entries: UnsupportedEntry[] = [
    ...[...fields].map(([field, unsupported]) => ({ field, ...unsupported })),
    ...[...values].flatMap(([field, each]) =>
      [...each].map(([value, unsupported]) => ({ field, value, ...unsupported })),
    ),
  ];
  const order = ({ field, value = "" }: UnsupportedEntry): string => `${field} ${value}`;
  return entries.toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** Returns the full name of a field. */
export function fieldName(field: DescField): string {
  return `${field.parent.typeName}.${field.name}`;
}

/**
 * Yields a violation for everything in a request that the table rejects. Does not descend into a rejected
 * field. The walk is lazy.
 */
export function* unsupportedFields(
  support: UnsupportedFeatures,
  desc: DescMessage,
  request: Message,
): Generator<FieldViolation> {
  const isHonoured = ({ keys }: { keys: readonly string[] }): boolean =>
    byKey(support.fields, keys) === undefined;
  for (const visit of walkFields(desc, request, isHonoured)) {
    const refused = byKey(support.fields, visit.keys);
    if (refused !== undefined) {
      yield violation(visit.path, refused);
      continue;
    }
    for (const [where, value] of enumValues(visit)) {
      const name = visit.field.enum?.value[value]?.name ?? "";
      const refusal = visit.keys
        .map((key) => support.values.get(key)?.get(name))
        .find((each) => each !== undefined);
      if (refusal !== undefined) yield violation(where, refusal);
    }
  }
}

function violation(field: string, { reason, alternative }: Unsupported): FieldViolation {
  const description = alternative === undefined ? reason : `${reason}; ${alternative}`;
  return { field, description, reason: "FIELD_UNSUPPORTED" };
}

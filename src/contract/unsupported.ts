/**
 * What an engine cannot do, as a table of fields and of single values of fields.
 *
 * The one table drives the check that every request passes, `GetEngineCapabilities`, and the support
 * matrix in the documentation.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { FieldViolation } from "./errors.js";
import { byKey, enumValues, walkFields } from "./walk.js";

/** Why an engine refuses a field or a value, and what to do instead. */
export interface Unsupported {
  readonly reason: string;
  readonly alternative?: string;
}

/**
 * One line of an engine's table. `field` is the path of a field from a message that holds it:
 * `nap.v1.Mount.image` is refused wherever a Mount stands, `nap.v1.Namespaces.user.isolated.uids` in
 * the user namespace alone. With `value`, the name of an enum value, the field is honoured but for it.
 */
export interface UnsupportedEntry extends Unsupported {
  readonly field: string;
  readonly value?: string;
}

/** The fields and the values of fields that an engine refuses. What is not in it, the engine honours. */
export interface UnsupportedFeatures {
  readonly fields: ReadonlyMap<string, Unsupported>;
  /** By field, then by the value's name. */
  readonly values: ReadonlyMap<string, ReadonlyMap<string, Unsupported>>;
}

/** The table of these entries. Of several entries for one field or value the last one counts. */
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

/** The entries of a table, sorted by field and value. */
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

/** The full name of a field. */
export function fieldName(field: DescField): string {
  return `${field.parent.typeName}.${field.name}`;
}

/**
 * Everything in a request that the table refuses. What is below a refused field is not looked at. Each is
 * looked for when it is asked for.
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

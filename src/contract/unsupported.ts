/**
 * What an engine cannot do, as a table of field and enum value names.
 *
 * The one table drives the check that every request passes, `GetEngineCapabilities`, and the support
 * matrix in the documentation.
 */
import type { DescEnum, DescEnumValue, DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { FieldViolation } from "./errors.js";
import { enumValues, fieldPath, walk } from "./walk.js";

/** Why an engine refuses a field or a value, and what to do instead. */
export interface Unsupported {
  readonly reason: string;
  readonly alternative?: string;
}

/**
 * The fields and enum values that an engine refuses, by their full names: `nap.v1.Mount.image`,
 * `nap.v1.WAIT_CONDITION_HEALTHY`, or both where a value is refused in one field alone:
 * `nap.v1.Namespaces.user=NAMESPACE_MODE_PRIVATE`. What is not in it, the engine honours.
 */
export type Support = ReadonlyMap<string, Unsupported>;

/** The full name of a field. */
export function fieldName(field: DescField): string {
  return `${field.parent.typeName}.${field.name}`;
}

/** The full name of an enum value. As in protobuf, it is a sibling of its enum. */
export function enumValueName(desc: DescEnum, value: DescEnumValue): string {
  const scope = desc.typeName.slice(0, desc.typeName.lastIndexOf("."));
  return `${scope}.${value.name}`;
}

/** Everything in a request that the table refuses. Each is looked for when it is asked for. */
export function* unsupportedFields(
  support: Support,
  desc: DescMessage,
  request: Message,
): Generator<FieldViolation> {
  for (const { path, message } of walk(desc, request)) {
    for (const field of message.fields) {
      if (!message.isSet(field)) continue;
      const at = fieldPath(path, field.name);
      const refused = support.get(fieldName(field));
      if (refused !== undefined) {
        yield violation(at, refused);
        continue;
      }
      for (const [where, value] of enumValues(at, message, field)) {
        const known = field.enum?.value[value];
        const refusal =
          known &&
          (support.get(enumValueName(known.parent, known)) ??
            support.get(`${fieldName(field)}=${known.name}`));
        if (refusal !== undefined) yield violation(where, refusal);
      }
    }
  }
}

function violation(field: string, { reason, alternative }: Unsupported): FieldViolation {
  const description = alternative === undefined ? reason : `${reason}; ${alternative}`;
  return { field, description, kind: "FIELD_UNSUPPORTED_BY_ENGINE" };
}

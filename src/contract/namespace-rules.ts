/** What the contract says of namespaces that depends on their kind, which no field option can say. */
import type { IsolatedNamespace, Namespaces } from "../../gen/nap/v1/container_spec_pb.js";
import { IsolatedNamespaceSchema, NamespacesSchema } from "../../gen/nap/v1/container_spec_pb.js";
import { isFieldSet } from "@bufbuild/protobuf";
import type { FieldViolation } from "./errors.js";
import type { Visit } from "./walk.js";

/** The kind of namespace that alone has each field of an isolated one. */
const kindOf: Readonly<Record<string, keyof Namespaces>> = {
  shareable: "ipc",
  without_shm: "ipc",
  uids: "user",
  gids: "user",
};

/** What does not make sense in a namespace of its kind, where the message visited has namespaces. */
export function* namespaceViolations({ path, message }: Visit): Generator<FieldViolation> {
  if (message.desc.typeName !== NamespacesSchema.typeName) return;
  const namespaces = message.message as Namespaces;
  for (const { name, localName } of NamespacesSchema.fields) {
    const mode = namespaces[localName as "pid"]?.mode;
    if (mode?.case !== "isolated") continue;
    yield* isolatedViolations(`${path}.${name}.isolated`, localName, mode.value);
  }
}

function* isolatedViolations(
  path: string,
  kind: string,
  isolated: IsolatedNamespace,
): Generator<FieldViolation> {
  for (const field of IsolatedNamespaceSchema.fields) {
    const only = kindOf[field.name];
    if (only === undefined || only === kind || !isFieldSet(isolated, field)) continue;
    yield invalid(`${path}.${field.name}`, `is for the namespace ${only} alone`);
  }
  if (kind === "ipc" && isolated.shareable && isolated.withoutShm) {
    yield invalid(`${path}.without_shm`, "excludes shareable");
  }
}

function invalid(field: string, description: string): FieldViolation {
  return { field, description, kind: "FIELD_INVALID" };
}

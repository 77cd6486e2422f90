/** The rules of the contract on namespaces and networks that field options cannot express. */
import type {
  ContainerSpec,
  IsolatedNamespace,
  Namespaces,
} from "../../../gen/nap/v1/container_spec_pb.js";
import {
  ContainerSpecSchema,
  IsolatedNamespaceSchema,
  NamespacesSchema,
} from "../../../gen/nap/v1/container_spec_pb.js";
import { isFieldSet } from "@bufbuild/protobuf";
import type { FieldViolation } from "../errors.js";
import type { Visit } from "../walk.js";
import { fieldPath } from "../walk.js";

/** The only kind of namespace to which each of these fields applies. */
const kindOf: Readonly<Record<string, keyof Namespaces>> = {
  shareable: "ipc",
  without_shm: "ipc",
  uids: "user",
  gids: "user",
};

/** Yields the violations in the namespaces and networks of a message. */
export function* namespaceViolations({ path, message }: Visit): Generator<FieldViolation> {
  if (message.desc.typeName === ContainerSpecSchema.typeName) {
    yield* attachmentViolations(path, message.message as ContainerSpec);
  }
  if (message.desc.typeName !== NamespacesSchema.typeName) return;
  const namespaces = message.message as Namespaces;
  for (const { name, localName } of NamespacesSchema.fields) {
    const mode = namespaces[localName as "pid"]?.mode;
    if (mode?.case !== "isolated") continue;
    yield* isolatedViolations(`${path}.${name}.isolated`, localName, mode.value);
  }
}

/** A pod may have networks; engines that have pods check them. */
function* attachmentViolations(
  path: string,
  { networks, namespaces }: ContainerSpec,
): Generator<FieldViolation> {
  const mode = namespaces?.network?.mode.case;
  if (networks.length === 0 || (mode !== "host" && mode !== "container" && mode !== "path")) return;
  const description = `are for a network namespace of the container's own, and ${path}.namespaces.network is ${mode}`;
  yield invalid(fieldPath(path, "networks"), description);
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
  return { field, description, reason: "FIELD_INVALID" };
}

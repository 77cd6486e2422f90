/**
 * Where a request refers to containers, volumes and networks, as a table of its fields, so that each
 * reference of an identity that sees only its own can be resolved among these.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { openField } from "../../contract/open.js";
import { fieldName } from "../../contract/unsupported.js";
import { walk } from "../../contract/walk.js";

/** What can be of somebody. */
export type OwnedKind = "container" | "volume" | "network";

const named: Readonly<Record<string, OwnedKind>> = {
  container: "container",
  volume: "volume",
  network: "network",
};

/** The fields below a request that refer to something. Its own, and those of its open, are known by name. */
export const nestedReferences: ReadonlyMap<string, OwnedKind> = new Map([
  ["nap.v1.Namespace.container", "container"],
  ["nap.v1.VolumesFrom.container", "container"],
  ["nap.v1.CopySource.container", "container"],
  ["nap.v1.ContainerLink.container", "container"],
  ["nap.v1.NetworkAttachment.network", "network"],
  ["nap.v1.NetworkSpec.config_from", "network"],
  ["nap.v1.VolumeMount.volume", "volume"],
]);

/** Fields that sound like references and need not be resolved. */
export const noReferences: ReadonlySet<string> = new Set([
  // They select among what is the identity's own anyway.
  "nap.v1.ContainerFilter.networks",
  "nap.v1.ContainerFilter.volumes",
  "nap.v1.EventFilter.containers",
  "nap.v1.EventFilter.networks",
  "nap.v1.EventFilter.volumes",
  // A path.
  "nap.v1.DeviceMapping.container_path",
]);

/** A reference in a request. */
export interface Reference {
  readonly kind: OwnedKind;
  readonly text: string;
  /** Puts another text in its place. */
  replace(text: string): void;
  /** The message that it stands in. */
  readonly message: Message;
}

/** What a field refers to. Undefined: nothing. */
export function referenceKind(field: DescField, request: DescMessage): OwnedKind | undefined {
  if (field.fieldKind !== "scalar") return undefined;
  const { typeName } = field.parent;
  return typeName === request.typeName || typeName === openField(request)?.message.typeName
    ? named[field.name]
    : nestedReferences.get(fieldName(field));
}

/** Every reference in a request. An empty one is none. */
export function* referencesIn(desc: DescMessage, request: Message): Generator<Reference> {
  for (const { message } of walk(desc, request)) {
    for (const field of message.fields) {
      const kind = referenceKind(field, desc);
      if (kind === undefined || !message.isSet(field)) continue;
      const text: unknown = message.get(field);
      if (typeof text !== "string" || text === "") continue;
      yield { kind, text, message: message.message, ...replacing(message, field) };
    }
  }
}

function replacing(message: ReflectMessage, field: DescField): Pick<Reference, "replace"> {
  return { replace: (text) => message.set(field, text) };
}

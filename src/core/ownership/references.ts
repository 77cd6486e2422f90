/**
 * A table of the request fields that refer to containers, volumes and networks, by which the references of
 * an identity that sees only its own objects are resolved.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { openField } from "../../contract/open.js";
import { fieldName } from "../../contract/unsupported.js";
import { walk } from "../../contract/walk.js";

/** Kinds of objects that have an owner. */
export type OwnedKind = "container" | "volume" | "network";

const named: Readonly<Record<string, OwnedKind>> = {
  container: "container",
  volume: "volume",
  network: "network",
};

/**
 * Nested fields that refer to objects. Top-level fields of a request and of its `open` are recognized by
 * their name.
 */
export const nestedReferences: ReadonlyMap<string, OwnedKind> = new Map([
  ["nap.v1.Namespace.container", "container"],
  ["nap.v1.VolumesFrom.container", "container"],
  ["nap.v1.CopySource.container", "container"],
  ["nap.v1.ContainerLink.container", "container"],
  ["nap.v1.NetworkAttachment.network", "network"],
  ["nap.v1.NetworkSpec.config_from", "network"],
  ["nap.v1.VolumeMount.volume", "volume"],
]);

/** Fields whose names look like references but need not be resolved. */
export const noReferences: ReadonlySet<string> = new Set([
  // They only narrow a list of the identity's own objects.
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
  /** Replaces its text. */
  replace(text: string): void;
  /** The message that contains it. */
  readonly message: Message;
}

/** Returns the kind of object that a field refers to; undefined if it is not a reference. */
export function referenceKind(field: DescField, request: DescMessage): OwnedKind | undefined {
  if (field.fieldKind !== "scalar") return undefined;
  const { typeName } = field.parent;
  return typeName === request.typeName || typeName === openField(request)?.message.typeName
    ? named[field.name]
    : nestedReferences.get(fieldName(field));
}

/** Yields every reference in a request that is not empty. */
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

/**
 * Where a request refers to containers, volumes and networks, as the contract says by `(refers_to)`, so that
 * each reference of an identity that sees only its own can be resolved among these.
 */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { getOption, hasOption } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { ReferenceKind, refers_to } from "../../../gen/nap/v1/rules_pb.js";
import { walk } from "../../contract/walk.js";
import { services } from "../engines.js";

/** The kinds of objects that have an owner. */
export type OwnedKind = "container" | "volume" | "network";

const ownedKinds: Readonly<Record<ReferenceKind, OwnedKind | undefined>> = {
  [ReferenceKind.UNSPECIFIED]: undefined,
  [ReferenceKind.CONTAINER]: "container",
  [ReferenceKind.VOLUME]: "volume",
  [ReferenceKind.NETWORK]: "network",
  // Images belong to nobody.
  [ReferenceKind.IMAGE]: undefined,
};

const references = referenceFields();

/** Returns the fields of requests that the contract says refer to something owned, by message. */
function referenceFields(): ReadonlyMap<DescMessage, ReadonlyMap<DescField, OwnedKind>> {
  const found = new Map<DescMessage, Map<DescField, OwnedKind>>();
  const visit = (desc: DescMessage): void => {
    if (found.has(desc)) return;
    const own = new Map<DescField, OwnedKind>();
    found.set(desc, own);
    for (const field of desc.fields) {
      const kind = hasOption(field, refers_to) && ownedKinds[getOption(field, refers_to)];
      if (kind) own.set(field, kind);
      if (field.message !== undefined) visit(field.message);
    }
  };
  for (const { desc } of services) for (const { input } of desc.methods) visit(input);
  return found;
}

/** A reference in a request. */
export interface Reference {
  readonly kind: OwnedKind;
  readonly text: string;
  /** Replaces its text. */
  replace(text: string): void;
  /** The message that contains it. */
  readonly message: Message;
}

/** Returns the kind of owned object that a field of a request refers to; undefined where it is none. */
export function referenceKind(field: DescField): OwnedKind | undefined {
  return references.get(field.parent)?.get(field);
}

/** Yields every reference in a request that is not empty. */
export function* referencesIn(desc: DescMessage, request: Message): Generator<Reference> {
  for (const { message } of walk(desc, request)) {
    for (const [field, kind] of references.get(message.desc) ?? []) {
      if (!message.isSet(field)) continue;
      const text: unknown = message.get(field);
      if (typeof text !== "string" || text === "") continue;
      yield { kind, text, message: message.message, ...replacing(message, field) };
    }
  }
}

function replacing(message: ReflectMessage, field: DescField): Pick<Reference, "replace"> {
  return { replace: (text) => message.set(field, text) };
}

/** What a failure may tell an identity that sees only its own objects: nothing of those of others. */
import type { ErrorDetails, Reason } from "../../contract/errors.js";
import { NapError } from "../../contract/errors.js";
import type { OwnedKind } from "./references.js";
import { notFound } from "./objects.js";

/** A reference that was resolved: what the client gave, and what the engine got in its place. */
export interface Resolved {
  readonly kind: OwnedKind;
  readonly given: string;
  readonly used: string;
}

/** What is said instead of an engine's own words, where these name more than the client did. */
const plainWords: Partial<Readonly<Record<Reason, string>>> = {
  ENDPOINT_EXISTS: "the container is attached to the network already",
  EXEC_NOT_FOUND: "the container has no such command",
  HOST_PORT_IN_USE: "a port of the host that it asks for is taken",
  NAME_IN_USE: "the name is taken",
  RESOURCE_IN_USE: "it is in use",
  SUBNET_OVERLAP: "its addresses overlap those of another network",
};

const missing: Partial<Readonly<Record<Reason, OwnedKind>>> = {
  CONTAINER_NOT_FOUND: "container",
  NETWORK_NOT_FOUND: "network",
  VOLUME_NOT_FOUND: "volume",
};

/** Ids of containers and networks, whole or short; a digest has its algorithm before it. */
const ids = /(?<![0-9a-zA-Z:])[0-9a-f]{12}(?:[0-9a-f]{52})?(?![0-9a-zA-Z])/g;

/**
 * The failure of a call with these references as its client may see it. `isOwn` says of the id or name
 * of a container that it is the client's.
 */
export function ownError(
  error: unknown,
  references: readonly Resolved[],
  isOwn: (container: string) => boolean,
): unknown {
  if (!(error instanceof NapError)) return error;
  const { reason, message, details, cause } = error;
  const asGiven = (text: string): string =>
    references.reduce((all, { used, given }) => all.replaceAll(used, given), text);
  const object = missing[reason];
  if (object !== undefined) {
    // It went away since it was resolved.
    const resource = details.resource ?? "";
    const found = references.find((each) => each.used === resource || each.given === resource);
    return notFound(object, found?.given ?? asGiven(resource));
  }
  const given = new Set(references.map((each) => each.given));
  const clean = (text: string): string =>
    asGiven(text).replace(ids, (id) => (given.has(id) ? id : "…"));
  const resource = details.resource === undefined ? undefined : asGiven(details.resource);
  const plain = plainWords[reason];
  const { engineMessage: _words, users, violations, ...others } = details;
  const visible: ErrorDetails = {
    ...others,
    ...(resource !== undefined && { resource }),
    ...(users && { users: users.filter(isOwn) }),
    ...(violations && {
      violations: violations.map((each) => ({ ...each, description: clean(each.description) })),
    }),
  };
  if (plain === undefined) return new NapError(reason, clean(message), visible, cause);
  return new NapError(
    reason,
    resource === undefined ? plain : `${resource}: ${plain}`,
    visible,
    cause,
  );
}

/** Removes information about other owners' objects from errors. */
import type { ErrorDetails, Reason } from "../../contract/errors.js";
import { NapError } from "../../contract/errors.js";
import type { OwnedKind } from "./references.js";
import { notFound } from "./objects.js";

/** A resolved reference: the text from the client, and the id or name that the engine got instead. */
export interface Resolved {
  readonly kind: OwnedKind;
  readonly given: string;
  readonly used: string;
}

/** Replacements of the engine's messages that name objects which the client did not name. */
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

/**
 * Matches full and short ids of containers and networks, but not digests, which follow their algorithm.
 */
const ids = /(?<![0-9a-zA-Z:])[0-9a-f]{12}(?:[0-9a-f]{52})?(?![0-9a-zA-Z])/g;

/**
 * Returns the error of a call with these references as its client may see it. `isOwn` returns whether a
 * container's id or name is the client's.
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
    // It was removed after it had been resolved.
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

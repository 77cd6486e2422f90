/**
 * The labels that nap itself sets on the objects of an engine, so that it recognizes them after a restart.
 * Clients cannot set them and do not see them.
 */
import { createHash } from "node:crypto";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";
import { NapError } from "./errors.js";

/** The prefix of the names of internal labels. */
export const internalLabelPrefix = "nap.v1.";
/** The label with the name of the identity that created the object. */
export const ownerLabel = `${internalLabelPrefix}owner`;
const requestIdLabel = `${internalLabelPrefix}request-id`;
const requestDigestLabel = `${internalLabelPrefix}request-digest`;

type Labels = Readonly<Record<string, string>>;
type CreateRequest = Message & { readonly requestId: string };

/** Returns the labels without internal ones. */
export function stripInternalLabels(labels: Labels): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).filter(([key]) => !key.startsWith(internalLabelPrefix)),
  );
}

/**
 * Returns the labels that record which identity created an object, and by which request. All of them are
 * always set, possibly to an empty value: a container inherits the labels of its image, which anyone can
 * set.
 */
export function provenanceLabels(
  desc: DescMessage,
  request: CreateRequest,
  { name }: { readonly name: string },
): Record<string, string> {
  return {
    [ownerLabel]: name,
    [requestIdLabel]: request.requestId,
    [requestDigestLabel]: request.requestId === "" ? "" : digestOf(desc, request),
  };
}

/** Returns the key that is equal for repetitions of the same request; undefined without a request_id. */
export function requestKey(
  desc: DescMessage,
  request: CreateRequest,
  { name }: { readonly name: string },
): string | undefined {
  if (request.requestId === "") return undefined;
  return JSON.stringify([name, request.requestId, digestOf(desc, request)]);
}

function digestOf(desc: DescMessage, request: CreateRequest): string {
  // As JSON with sorted keys: a client may write a map in another order each time. The engine may be named
  // or left to the default, and credentials may have been renewed since.
  const {
    engine: _engine,
    registryCredentials: _credentials,
    ...what
  } = toJson(desc, request) as Record<string, unknown>;
  return createHash("sha256").update(JSON.stringify(what, sortedKeys)).digest("hex");
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Returns the label filter, as `key=value`, for objects that were created with a request_id. */
export function requestIdFilter(requestId: string): string {
  return `${requestIdLabel}=${requestId}`;
}

/** Returns the request_id of the request that created the object; empty if there was none. */
export function requestIdOf(labels: Labels | null | undefined): string {
  return labels?.[requestIdLabel] ?? "";
}

/** Returns the name of the identity that created the object; empty if it is not known. */
export function ownerOf(labels: Labels | null | undefined): string {
  return labels?.[ownerLabel] ?? "";
}

/**
 * Returns whether the object with these labels was created by the same request of this identity. Fails
 * with REQUEST_ID_REUSED if it was created by a different request of this identity with the same
 * request_id.
 */
export function matchesRequest(
  desc: DescMessage,
  request: CreateRequest,
  { name }: { readonly name: string },
  labels: Labels,
): boolean {
  if (request.requestId === "" || labels[requestIdLabel] !== request.requestId) return false;
  if (labels[ownerLabel] !== name) return false;
  if (labels[requestDigestLabel] === digestOf(desc, request)) return true;
  const message = `request_id: "${request.requestId}" was used before, with another request`;
  const reason = "FIELD_INVALID";
  const description = "was used before, with another request";
  const violations = [{ field: "request_id", description, reason } as const];
  throw new NapError("REQUEST_ID_REUSED", message, { violations });
}

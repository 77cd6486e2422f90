/**
 * The labels that nap itself writes on the objects of an engine, so that it finds again what it made
 * also after a restart. Clients cannot set them and do not see them.
 */
import { createHash } from "node:crypto";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";
import { NapError } from "./errors.js";

/** What the names of nap's own labels begin with. */
export const internalLabelPrefix = "nap.v1.";
/** The label that holds the name of the identity that made the object. */
export const ownerLabel = `${internalLabelPrefix}owner`;
const requestIdLabel = `${internalLabelPrefix}request-id`;
const requestDigestLabel = `${internalLabelPrefix}request-digest`;

type Labels = Readonly<Record<string, string>>;
type CreateRequest = Message & { readonly requestId: string };

/** The labels without nap's own. */
export function stripInternalLabels(labels: Labels): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).filter(([key]) => !key.startsWith(internalLabelPrefix)),
  );
}

/**
 * The labels that tell who made an object and by which request. All of them are written each time,
 * empty where there is nothing to tell: a container inherits the labels of its image, and anybody can
 * write those.
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

/** What tells calls that repeat one another from all others. Undefined: without a request_id. */
export function requestKey(
  desc: DescMessage,
  request: CreateRequest,
  { name }: { readonly name: string },
): string | undefined {
  if (request.requestId === "") return undefined;
  return JSON.stringify([name, request.requestId, digestOf(desc, request)]);
}

function digestOf(desc: DescMessage, request: CreateRequest): string {
  // As JSON with sorted keys: a client may write a map in another order each time.
  // Which engine is meant may be said or left out, and credentials may have been renewed since.
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

/** The filter, as `key=value`, that selects what a request_id made. */
export function requestIdFilter(requestId: string): string {
  return `${requestIdLabel}=${requestId}`;
}

/** The request_id that made the object with these labels; empty where there was none. */
export function requestIdOf(labels: Labels | null | undefined): string {
  return labels?.[requestIdLabel] ?? "";
}

/** The name of the identity that made the object with these labels; empty where none is known. */
export function ownerOf(labels: Labels | null | undefined): string {
  return labels?.[ownerLabel] ?? "";
}

/**
 * Whether the object with these labels was made by this very request of this identity. Fails with
 * REQUEST_ID_REUSED where it was made by another request of its with the same request_id.
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

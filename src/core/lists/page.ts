/** Cuts a list into pages. */
import { createHash } from "node:crypto";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { toBinary } from "@bufbuild/protobuf";
import { fieldError } from "../../contract/errors.js";

/**
 * The maximum size of a page, so that no response is larger than 1 MiB; a single larger resource is a
 * page.
 */
const maxPageBytes = 1024 * 1024 - 4096;
const defaultPageSize = 100;

/** The pagination fields of a list request. */
export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/** A page, and the token of the next one; the token is empty on the last page. */
export interface Page<T> {
  readonly items: T[];
  readonly nextPageToken: string;
}

/** How the items of a list are ordered, loaded and encoded. */
export interface Listing<T, M extends Message> {
  /** The items are ordered by this key, which is unique. */
  readonly key: (item: T) => string;
  /**
   * Converts the items of the page to messages, in their order; undefined for an item that has been
   * removed.
   */
  readonly load: (items: T[]) => Promise<(M | undefined)[]>;
  readonly schema: DescMessage;
}

/**
 * Returns one page of `all`. A token contains the last key of the previous page, so objects that are
 * created or removed between two calls neither repeat nor hide others.
 */
export async function pageOf<T, M extends Message>(
  all: readonly T[],
  { pageSize, pageToken }: PageRequest,
  { key, load, schema }: Listing<T, M>,
): Promise<Page<M>> {
  const sorted = all
    .map((item) => ({ item, key: key(item) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const after = pageToken === "" ? "" : decodeToken(pageToken);
  const rest = sorted.filter((entry) => entry.key > after);
  const wanted = rest.slice(0, pageSize === 0 ? defaultPageSize : pageSize);
  const messages = await load(wanted.map(({ item }) => item));
  const fitting = fittingCount(messages, schema);
  const items = messages.slice(0, fitting).filter((message) => message !== undefined);
  const last = fitting === rest.length ? undefined : wanted[fitting - 1];
  return { items, nextPageToken: last === undefined ? "" : encodeToken(last.key) };
}

function fittingCount(messages: readonly (Message | undefined)[], schema: DescMessage): number {
  let bytes = 0;
  for (const [index, message] of messages.entries()) {
    bytes += message === undefined ? 0 : toBinary(schema, message).length;
    if (bytes > maxPageBytes && index > 0) return index;
  }
  return messages.length;
}

/** Encodes a token with a checksum, so that a truncated or forged token is rejected. */
function encodeToken(key: string): string {
  return Buffer.from(`${checkOf(key)}${key}`).toString("base64url");
}

function decodeToken(token: string): string {
  const text = Buffer.from(token, "base64url").toString();
  const [check, key] = [text.slice(0, 8), text.slice(8)];
  if (check === checkOf(key)) return key;
  const description = "is not a token that this server gave";
  throw fieldError([{ field: "page_token", description, reason: "FIELD_INVALID" }]);
}

function checkOf(key: string): string {
  return createHash("sha256").update(key).digest("hex").slice(0, 8);
}

/** Returns a sort key for "newest first, then by id". */
export function newestFirst(seconds: number, id: string): string {
  const millis = Math.floor(seconds * 1000);
  return `${String(1e15 - millis).padStart(16, "0")} ${id}`;
}

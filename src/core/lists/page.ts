/** Cuts a list into pages. */
import { createHash } from "node:crypto";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { toBinary } from "@bufbuild/protobuf";
import { fieldError } from "../../contract/errors.js";

/** A page ends before it exceeds this, so that no answer is larger than 1 MiB but a single resource. */
const maxPageBytes = 1024 * 1024 - 4096;
const defaultPageSize = 100;

/** What a list request says of its pages. */
export interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

/** A page, and the token of the next one; empty where there is none. */
export interface Page<T> {
  readonly items: T[];
  readonly nextPageToken: string;
}

/** How the items of a list are ordered, loaded and encoded. */
export interface Listing<T, M extends Message> {
  /** The items are ordered by this key, which is unique. */
  readonly key: (item: T) => string;
  /**
   * Turns the items of the page into messages, in their order. Undefined: the item is gone.
   */
  readonly load: (items: T[]) => Promise<(M | undefined)[]>;
  readonly schema: DescMessage;
}

/**
 * One page of `all`. A token names the last key of the page before, so that objects which come or go
 * between two calls neither repeat nor hide others.
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

/** A token carries a check of itself, so that one that was cut or made up is refused. */
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

/** A sort key for "the newest first, then by id". */
export function newestFirst(seconds: number, id: string): string {
  const millis = Math.floor(seconds * 1000);
  return `${String(1e15 - millis).padStart(16, "0")} ${id}`;
}

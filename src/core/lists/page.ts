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

/** How many items a page has. */
interface PageSizes {
  /** Where the request does not say it. */
  readonly usual: number;
  /** Where the request asks for more. */
  readonly most: number;
}

/** The sizes of pages of resources. */
const resourcePages: PageSizes = { usual: 100, most: 1000 };
/** The sizes of pages of items that are a line each. */
export const linePages: PageSizes = { usual: 1000, most: 10_000 };

/** What a list request says of its pages; the contract refuses a negative size. */
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
  /** Default: those of resources. */
  readonly sizes?: PageSizes;
}

/**
 * Returns one page of `all`. A token contains the last key of the previous page, so objects that are
 * created or removed between two calls neither repeat nor hide others.
 */
export async function pageOf<T, M extends Message>(
  all: readonly T[],
  { pageSize, pageToken }: PageRequest,
  { key, load, schema, sizes: { usual, most } = resourcePages }: Listing<T, M>,
): Promise<Page<M>> {
  const sorted = all
    .map((item) => ({ item, key: key(item) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const rest = sorted.slice(pageToken === "" ? 0 : startAfter(sorted, decodeToken(pageToken)));
  const wanted = rest.slice(0, pageSize === 0 ? usual : Math.min(pageSize, most));
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

/** The last key of a page as a token has it. */
interface Position {
  /** The key, or the beginning of one that is too long for a token. */
  readonly text: string;
  /** The digest of the whole key where it is too long, else empty. */
  readonly digest: string;
}

/** The longest key that stands in a token whole, in UTF-16 units: a unit takes up to three bytes. */
const maxKeyLength = 200;

/** The index of the first item behind a position. */
function startAfter(sorted: readonly { readonly key: string }[], position: Position): number {
  const { text, digest } = position;
  if (digest !== "") {
    const last = sorted.findIndex(({ key }) => key.startsWith(text) && digestOf(key) === digest);
    if (last >= 0) return last + 1;
    // The item is gone: those whose keys begin as its own may come again, so that none is left out.
  }
  const next = sorted.findIndex(({ key }) => key > text);
  return next < 0 ? sorted.length : next;
}

/** A token carries a check of itself, so that one that was cut or made up is refused. */
function encodeToken(key: string): string {
  const isLong = key.length > maxKeyLength;
  // A surrogate pair is not cut in two.
  const text = isLong ? key.slice(0, maxKeyLength).replace(/[\ud800-\udbff]$/, "") : key;
  const body = `${isLong ? digestOf(key) : "-"} ${text}`;
  return Buffer.from(`${checkOf(body)}${body}`).toString("base64url");
}

function decodeToken(token: string): Position {
  const decoded = Buffer.from(token, "base64url").toString();
  const body = decoded.slice(checkLength);
  const blank = body.indexOf(" ");
  if (decoded.slice(0, checkLength) === checkOf(body) && blank > 0) {
    const digest = body.slice(0, blank);
    return { text: body.slice(blank + 1), digest: digest === "-" ? "" : digest };
  }
  const description = "is not a token that this server gave";
  throw fieldError([{ field: "page_token", description, reason: "FIELD_INVALID" }]);
}

const checkLength = 8;

function checkOf(body: string): string {
  return digestOf(body).slice(0, checkLength);
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Returns a sort key for "newest first, then by id". */
export function newestFirst(seconds: number, id: string): string {
  const millis = Math.floor(seconds * 1000);
  return `${String(1e15 - millis).padStart(16, "0")} ${id}`;
}

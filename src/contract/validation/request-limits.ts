/** How many bytes a message of a request may have, by its method. */
import type { DescMethod } from "@bufbuild/protobuf";
import { getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { method_rules } from "../../../gen/nap/v1/rules_pb.js";
import { NapError } from "../errors.js";
import { openField } from "../open.js";

/** The most bytes of a message of any method: the limit of gRPC's libraries where none is set. */
export const maxMessageBytes = 4 * 1024 * 1024;

/** The most bytes of a request whose method has no rule for it. */
const defaultRequestBytes = 256 * 1024;

/** The most bytes of the messages that a client sends in one call. */
export interface RequestLimits {
  /** Of the request or, in a stream of requests, of the first message. */
  readonly first: number;
  /** Of each message behind the first. */
  readonly following: number;
}

/** Returns the limits of a method, worked out from its descriptor. */
export function requestLimits(method: DescMethod): RequestLimits {
  const declared = hasOption(method, method_rules) && getOption(method, method_rules);
  const first = (declared && declared.maxRequestBytes) || defaultRequestBytes;
  const hasData = method.input.fields.some(({ scalar }) => scalar === ScalarType.BYTES);
  const isStream = openField(method.input) !== undefined;
  return { first, following: isStream && hasData ? maxMessageBytes : first };
}

/** Refuses a message that is too large. Its length is all that is looked at. */
export function checkLength(method: DescMethod, length: number, limit: number): void {
  if (length <= limit) return;
  const message = `the request has ${length} bytes; ${method.name} takes at most ${limit}`;
  throw new NapError("REQUEST_TOO_LARGE", message);
}

/** The error reasons of the contract, and the error class that has one. */
import { getOption } from "@bufbuild/protobuf";
import type { ErrorReason } from "../../gen/nap/v1/errors_pb.js";
import { ErrorReasonSchema } from "../../gen/nap/v1/errors_pb.js";
import type { ReasonRules } from "../../gen/nap/v1/rules_pb.js";
import { reason_rules } from "../../gen/nap/v1/rules_pb.js";

/**
 * The name of an ErrorReason without its prefix. The text of an engine's message determines a reason only
 * if no status code does.
 */
export type Reason = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** Returns the code and the retry advice that the contract gives each reason. */
export function reasonRules(): Readonly<Record<Reason, ReasonRules>> {
  const reasons = ErrorReasonSchema.values.filter(({ number }) => number !== 0);
  const entries = reasons.map((value) => [value.localName, getOption(value, reason_rules)]);
  return Object.fromEntries(entries) as Record<Reason, ReasonRules>;
}

/** A field of a request and what is wrong with it. */
export interface FieldViolation {
  /** The path from the request's root, for example `spec.mounts[0].target`. */
  readonly field: string;
  readonly description: string;
  readonly reason: Extract<Reason, `FIELD_${string}`>;
}

/** The details of a {@link NapError}. */
export interface ErrorDetails {
  /** The engine that failed. `dispatch` adds it. */
  readonly engine?: string;
  /** The name or id of the object, as the client gave it. */
  readonly resource?: string;
  /** The invalid fields. */
  readonly violations?: readonly FieldViolation[];
  /** The objects that prevent the operation, for example the containers that use a volume. */
  readonly users?: readonly string[];
  /** The last cursor of a stream that ends with the error. */
  readonly cursor?: string;
  /** The engine's own message. */
  readonly engineMessage?: string;
}

/**
 * The maximum number of violations in a status and in a line of the log. Checks stop after one more, by
 * which the message says that there are more.
 */
export const maxReportedViolations = 16;

/** The maximum length of a path, a name or a description in a status and in a line of the log. */
export const maxReportedCharacters = 160;

/** Truncates a text to `length` characters. */
export function clip(text: string, length = maxReportedCharacters): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** Returns the first items, at most one more than are reported, and stops the iteration there. */
export function firstOf<T>(found: Iterable<T>): T[] {
  const first: T[] = [];
  for (const each of found) {
    first.push(each);
    if (first.length > maxReportedViolations) break;
  }
  return first;
}

/** An error with a reason of the contract. The message is one sentence that names the object. */
export class NapError extends Error {
  override readonly name: string = "NapError";
  readonly details: ErrorDetails;

  constructor(
    readonly reason: Reason,
    message: string,
    details: ErrorDetails = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    const { violations } = details;
    this.details =
      violations === undefined ? details : { ...details, violations: clipViolations(violations) };
  }
}

/**
 * Truncates violations. They contain keys of the request, and an error may be kept for the whole of a
 * stream.
 */
function clipViolations(violations: Iterable<FieldViolation>): FieldViolation[] {
  return firstOf(violations).map(({ field, description, reason }) => ({
    field: clip(field),
    description: clip(description),
    reason,
  }));
}

/** Returns the error for invalid fields, with all violations that are reported. */
export function fieldError(found: Iterable<FieldViolation>, cause?: unknown): NapError {
  const violations = clipViolations(found);
  const [first] = violations;
  if (first === undefined) throw new RangeError("a field error needs a violation");
  return new NapError(first.reason, violationsText(violations), { violations }, cause);
}

/** Returns violations as the message of an error. */
export function violationsText(violations: readonly FieldViolation[]): string {
  const text = violations
    .slice(0, maxReportedViolations)
    .map(({ field, description }) => `${clip(field)}: ${clip(description)}`)
    .join("; ");
  return violations.length > maxReportedViolations ? `${text}; and more` : text;
}

/** Awaits a call, and returns undefined if it fails with this reason. */
export async function undefinedIf<T>(reason: Reason, call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof NapError && error.reason === reason) return undefined;
    throw error;
  }
}

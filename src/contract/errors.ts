/** The reasons for which a call can fail, as the contract lists them, and the error that carries one. */
import { getOption } from "@bufbuild/protobuf";
import type { ErrorReason } from "../../gen/nap/v1/errors_pb.js";
import { ErrorReasonSchema } from "../../gen/nap/v1/errors_pb.js";
import type { ReasonRules } from "../../gen/nap/v1/rules_pb.js";
import { reason_rules } from "../../gen/nap/v1/rules_pb.js";

/**
 * The name of an ErrorReason without its prefix. A reason is never decided by the text of an engine's
 * message where a status code decides it.
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

/** What a {@link NapError} tells beside its reason and its message. */
export interface ErrorDetails {
  /** The engine that failed. The router adds it. */
  readonly engine?: string;
  /** The name or id of the object, as the client gave it. */
  readonly resource?: string;
  /** Fields at fault. */
  readonly violations?: readonly FieldViolation[];
  /** The objects that stand in the way, for example the containers that use a volume. */
  readonly users?: readonly string[];
  /** The last cursor of a stream that ends with the error. */
  readonly cursor?: string;
  /** The engine's own words. */
  readonly engineMessage?: string;
}

/**
 * The most violations that a status and a line of the log tell. One more is looked for, since a client is
 * also told that there are more; what looks for them stops there.
 */
export const maxReportedViolations = 16;

/** The most characters of a path, a name or a reason that a status and a line of the log tell. */
export const maxReportedCharacters = 160;

/** The text, cut where it is longer than `length`. */
export function clip(text: string, length = maxReportedCharacters): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** The first things found, as many as are looked for at most. The others are not looked for. */
export function firstOf<T>(found: Iterable<T>): T[] {
  const first: T[] = [];
  for (const each of found) {
    first.push(each);
    if (first.length > maxReportedViolations) break;
  }
  return first;
}

/** A failure of a known kind. The message is one sentence that names the object. */
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

/** An error may live as long as a stream, and violations quote the keys of a request. */
function clipViolations(violations: Iterable<FieldViolation>): FieldViolation[] {
  return firstOf(violations).map(({ field, description, reason }) => ({
    field: clip(field),
    description: clip(description),
    reason,
  }));
}

/** The error for requests whose fields are at fault; all violations that are told come together. */
export function fieldError(found: Iterable<FieldViolation>, cause?: unknown): NapError {
  const violations = clipViolations(found);
  const [first] = violations;
  if (first === undefined) throw new RangeError("a field error needs a violation");
  return new NapError(first.reason, violationsText(violations), { violations }, cause);
}

/** Violations as the message of an error tells them. */
export function violationsText(violations: readonly FieldViolation[]): string {
  const text = violations
    .slice(0, maxReportedViolations)
    .map(({ field, description }) => `${clip(field)}: ${clip(description)}`)
    .join("; ");
  return violations.length > maxReportedViolations ? `${text}; and more` : text;
}

/** What a call gives, or undefined where it fails with this reason: the object is not there. */
export async function undefinedIf<T>(reason: Reason, call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof NapError && error.reason === reason) return undefined;
    throw error;
  }
}

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

/** A failure of a known reason. The message is one sentence that names the object. */
export class NapError extends Error {
  override readonly name: string = "NapError";

  constructor(
    readonly reason: Reason,
    message: string,
    readonly details: ErrorDetails = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }
}

/** The error for requests whose fields are at fault; all violations come together. */
export function fieldError(violations: readonly FieldViolation[], cause?: unknown): NapError {
  const [first] = violations;
  if (first === undefined) throw new RangeError("a field error needs a violation");
  const message = violations.map((v) => `${v.field}: ${v.description}`).join("; ");
  return new NapError(first.reason, message, { violations }, cause);
}

/** What a call gives, or undefined where it fails with this reason: the object is not there. */
export async function unless<T>(reason: Reason, call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof NapError && error.reason === reason) return undefined;
    throw error;
  }
}

/** The closed list of ways in which a call can fail, and the error that carries one of them. */

/**
 * Every kind of failure is one stable reason of the contract; `rpc/status.ts` maps each to a gRPC
 * code. A kind is never decided by the text of an engine's message where a status code decides it.
 */
export const errorKinds = [
  "AMBIGUOUS_ID",
  "ARCHIVE_INVALID",
  "BIND_SOURCE_NOT_FOUND",
  "BUILD_FAILED",
  "CALL_CANCELLED",
  "COMMAND_NOT_EXECUTABLE",
  "COMMAND_NOT_FOUND",
  "CONTAINER_NOT_FOUND",
  "CONTAINER_NOT_RUNNING",
  "CONTAINER_PAUSED",
  "CONTAINER_RUNNING",
  "CONTAINER_START_FAILED",
  "CURSOR_EXPIRED",
  "CURSOR_INVALID",
  "ENDPOINT_EXISTS",
  "ENDPOINT_NOT_FOUND",
  "ENGINE_DROPPED_FIELD",
  "ENGINE_ERROR",
  "ENGINE_NOT_FOUND",
  "ENGINE_REQUIRED",
  "ENGINE_UNREACHABLE",
  "EXEC_NOT_FOUND",
  "EXIT_UNKNOWN",
  "FIELD_INVALID",
  "FIELD_UNKNOWN",
  "FIELD_UNSUPPORTED_BY_ENGINE",
  "FILE_KIND_CONFLICT",
  "HEALTH_PROBE_MISSING",
  "HOST_PORT_IN_USE",
  "IMAGE_NOT_FOUND",
  "LOGS_NOT_READABLE",
  "MALFORMED_MESSAGE",
  "METHOD_UNSUPPORTED_BY_ENGINE",
  "NAME_IN_USE",
  "NETWORK_DRIVER_NOT_FOUND",
  "NETWORK_NOT_FOUND",
  "NETWORK_PREDEFINED",
  "PATH_NOT_DIRECTORY",
  "PATH_NOT_FOUND",
  "PATH_NOT_REACHABLE",
  "PATH_READ_ONLY",
  "PERMISSION_DENIED",
  "REGISTRY_AUTH_REQUIRED",
  "REGISTRY_UNREACHABLE",
  "REQUEST_ID_REUSED",
  "RESOURCE_BUSY",
  "RESOURCE_IN_USE",
  "SERVER_ERROR",
  "SERVER_STOPPING",
  "SLOW_CONSUMER",
  "SUBNET_IN_USE",
  "TERMINAL_NOT_FOUND",
  "TOO_MANY_CALLS",
  "UNAUTHENTICATED",
  "UPLOAD_TOO_LARGE",
  "VOLUME_DRIVER_NOT_FOUND",
  "VOLUME_NOT_FOUND",
] as const;

/** One of {@link errorKinds}. */
export type ErrorKind = (typeof errorKinds)[number];

/** A field of a request and what is wrong with it. */
export interface FieldViolation {
  /** The path from the request's root, for example `spec.mounts[0].target`. */
  readonly field: string;
  readonly description: string;
  readonly kind: Extract<ErrorKind, `FIELD_${string}` | "ENGINE_DROPPED_FIELD">;
}

/** What a {@link NapError} tells beside its kind and its message. */
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
  /** When a retry makes sense, in milliseconds from now. */
  readonly retryAfterMillis?: number;
}

/**
 * The most violations that a status and a line of the log tell. One more is looked for, since a client is
 * also told that there are more; what looks for them stops there.
 */
export const toldViolations = 16;

/** The most characters of a path, a name or a reason that a status and a line of the log tell. */
export const toldCharacters = 160;

/** The text, cut where it is longer than `length`. */
export function clip(text: string, length = toldCharacters): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** The first things found, as many as are looked for at most. The others are not looked for. */
export function firstOf<T>(found: Iterable<T>): T[] {
  const first: T[] = [];
  for (const each of found) {
    first.push(each);
    if (first.length > toldViolations) break;
  }
  return first;
}

/** A failure of a known kind. The message is one sentence that names the object. */
export class NapError extends Error {
  override readonly name: string = "NapError";
  readonly details: ErrorDetails;

  constructor(
    readonly kind: ErrorKind,
    message: string,
    details: ErrorDetails = {},
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    const { violations } = details;
    this.details =
      violations === undefined ? details : { ...details, violations: told(violations) };
  }
}

/** An error may live as long as a stream, and violations quote the keys of a request. */
function told(violations: Iterable<FieldViolation>): FieldViolation[] {
  return firstOf(violations).map(({ field, description, kind }) => ({
    field: clip(field),
    description: clip(description),
    kind,
  }));
}

/** The error for requests whose fields are at fault; all violations that are told come together. */
export function fieldError(found: Iterable<FieldViolation>, cause?: unknown): NapError {
  const violations = told(found);
  const [first] = violations;
  if (first === undefined) throw new RangeError("a field error needs a violation");
  return new NapError(first.kind, violationsText(violations), { violations }, cause);
}

/** Violations as the message of an error tells them. */
export function violationsText(violations: readonly FieldViolation[]): string {
  const text = violations
    .slice(0, toldViolations)
    .map(({ field, description }) => `${clip(field)}: ${clip(description)}`)
    .join("; ");
  return violations.length > toldViolations ? `${text}; and more` : text;
}

/** What a call gives, or undefined where it fails with this kind: the object is not there. */
export async function unless<T>(kind: ErrorKind, call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof NapError && error.kind === kind) return undefined;
    throw error;
  }
}

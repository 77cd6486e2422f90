/** The closed list of ways in which a call can fail, and the error that carries one of them. */

/**
 * Every failure has one stable reason of the contract; `rpc/status.ts` maps each to a gRPC
 * code. A reason is never decided by the text of an engine's message where a status code decides it.
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
  "FIELD_NOT_APPLIED",
  "ENGINE_ERROR",
  "ENGINE_NOT_FOUND",
  "ENGINE_REQUIRED",
  "ENGINE_UNREACHABLE",
  "EXEC_NOT_FOUND",
  "EXIT_STATUS_UNKNOWN",
  "FIELD_INVALID",
  "FIELD_UNKNOWN",
  "FIELD_UNSUPPORTED",
  "FILE_TYPE_CONFLICT",
  "NO_HEALTH_CHECK",
  "HOST_PORT_IN_USE",
  "IMAGE_NOT_FOUND",
  "LOG_DRIVER_NOT_READABLE",
  "MALFORMED_MESSAGE",
  "METHOD_UNSUPPORTED",
  "NAME_IN_USE",
  "NETWORK_DRIVER_NOT_FOUND",
  "NETWORK_NOT_FOUND",
  "NETWORK_BUILT_IN",
  "PATH_NOT_DIRECTORY",
  "PATH_NOT_FOUND",
  "PATH_NOT_ACCESSIBLE",
  "PATH_READ_ONLY",
  "PERMISSION_DENIED",
  "REGISTRY_AUTH_REQUIRED",
  "REGISTRY_UNREACHABLE",
  "REQUEST_ID_REUSED",
  "OPERATION_IN_PROGRESS",
  "RESOURCE_IN_USE",
  "INTERNAL",
  "SERVER_SHUTTING_DOWN",
  "SLOW_CONSUMER",
  "SUBNET_OVERLAP",
  "NO_TERMINAL",
  "CONCURRENCY_LIMIT_EXCEEDED",
  "UNAUTHENTICATED",
  "UPLOAD_TOO_LARGE",
  "VOLUME_DRIVER_NOT_FOUND",
  "VOLUME_NOT_FOUND",
] as const;

/** One of {@link errorKinds}. */
export type Reason = (typeof errorKinds)[number];

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
  /** When a retry makes sense, in milliseconds from now. */
  readonly retryAfterMillis?: number;
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

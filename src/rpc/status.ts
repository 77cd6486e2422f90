/** The one place where failures become gRPC statuses. */
import type { Message } from "@bufbuild/protobuf";
import { create, toBinary } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { anyPack, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, status as Code } from "@grpc/grpc-js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import type { ErrorDetails, Reason } from "../contract/errors.js";
import { NapError } from "../contract/errors.js";

/** The domain of every ErrorInfo. */
export const errorDomain = "nap.v1";

const codes: Readonly<Record<Reason, Code>> = {
  AMBIGUOUS_ID: Code.INVALID_ARGUMENT,
  ARCHIVE_INVALID: Code.INVALID_ARGUMENT,
  BIND_SOURCE_NOT_FOUND: Code.FAILED_PRECONDITION,
  BUILD_FAILED: Code.FAILED_PRECONDITION,
  CALL_CANCELLED: Code.CANCELLED,
  COMMAND_NOT_EXECUTABLE: Code.FAILED_PRECONDITION,
  COMMAND_NOT_FOUND: Code.FAILED_PRECONDITION,
  CONTAINER_NOT_FOUND: Code.NOT_FOUND,
  CONTAINER_NOT_RUNNING: Code.FAILED_PRECONDITION,
  CONTAINER_PAUSED: Code.FAILED_PRECONDITION,
  CONTAINER_RUNNING: Code.FAILED_PRECONDITION,
  CONTAINER_START_FAILED: Code.FAILED_PRECONDITION,
  CURSOR_EXPIRED: Code.OUT_OF_RANGE,
  CURSOR_INVALID: Code.INVALID_ARGUMENT,
  ENDPOINT_EXISTS: Code.ALREADY_EXISTS,
  ENDPOINT_NOT_FOUND: Code.NOT_FOUND,
  FIELD_NOT_APPLIED: Code.FAILED_PRECONDITION,
  ENGINE_ERROR: Code.INTERNAL,
  ENGINE_NOT_FOUND: Code.NOT_FOUND,
  ENGINE_REQUIRED: Code.INVALID_ARGUMENT,
  ENGINE_UNREACHABLE: Code.UNAVAILABLE,
  EXEC_NOT_FOUND: Code.NOT_FOUND,
  EXIT_STATUS_UNKNOWN: Code.DATA_LOSS,
  FIELD_INVALID: Code.INVALID_ARGUMENT,
  FIELD_UNKNOWN: Code.INVALID_ARGUMENT,
  FIELD_UNSUPPORTED: Code.INVALID_ARGUMENT,
  FILE_TYPE_CONFLICT: Code.FAILED_PRECONDITION,
  NO_HEALTH_CHECK: Code.FAILED_PRECONDITION,
  HOST_PORT_IN_USE: Code.FAILED_PRECONDITION,
  IMAGE_NOT_FOUND: Code.NOT_FOUND,
  LOG_DRIVER_NOT_READABLE: Code.FAILED_PRECONDITION,
  MALFORMED_MESSAGE: Code.INVALID_ARGUMENT,
  METHOD_UNSUPPORTED: Code.UNIMPLEMENTED,
  NAME_IN_USE: Code.ALREADY_EXISTS,
  NETWORK_DRIVER_NOT_FOUND: Code.NOT_FOUND,
  NETWORK_NOT_FOUND: Code.NOT_FOUND,
  NETWORK_BUILT_IN: Code.FAILED_PRECONDITION,
  PATH_NOT_DIRECTORY: Code.FAILED_PRECONDITION,
  PATH_NOT_FOUND: Code.NOT_FOUND,
  PATH_NOT_ACCESSIBLE: Code.FAILED_PRECONDITION,
  PATH_READ_ONLY: Code.FAILED_PRECONDITION,
  PERMISSION_DENIED: Code.PERMISSION_DENIED,
  REGISTRY_AUTH_REQUIRED: Code.FAILED_PRECONDITION,
  REGISTRY_UNREACHABLE: Code.UNAVAILABLE,
  REQUEST_ID_REUSED: Code.INVALID_ARGUMENT,
  OPERATION_IN_PROGRESS: Code.ABORTED,
  RESOURCE_IN_USE: Code.FAILED_PRECONDITION,
  INTERNAL: Code.INTERNAL,
  SERVER_SHUTTING_DOWN: Code.UNAVAILABLE,
  SLOW_CONSUMER: Code.RESOURCE_EXHAUSTED,
  SUBNET_OVERLAP: Code.FAILED_PRECONDITION,
  NO_TERMINAL: Code.FAILED_PRECONDITION,
  CONCURRENCY_LIMIT_EXCEEDED: Code.RESOURCE_EXHAUSTED,
  UNAUTHENTICATED: Code.UNAUTHENTICATED,
  UPLOAD_TOO_LARGE: Code.RESOURCE_EXHAUSTED,
  VOLUME_DRIVER_NOT_FOUND: Code.NOT_FOUND,
  VOLUME_NOT_FOUND: Code.NOT_FOUND,
};

/**
 * A status travels in headers, which clients bound to as little as 8 KiB for all of them: what is
 * longer than these is cut, and says so.
 */
const most = { message: 1024, text: 160, entries: 16 };

function clip(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** A gRPC status as grpc-js takes it from an error. */
export interface GrpcStatus {
  readonly code: Code;
  readonly details: string;
  readonly metadata: Metadata;
}

/** The status for anything that a call can throw. */
export function statusOf(error: unknown): GrpcStatus {
  const failure = error instanceof NapError ? error : serverError(error);
  const code = codes[failure.reason];
  const text = clip(failure.message, most.message);
  const status = create(StatusSchema, {
    code,
    message: text,
    details: [...detailMessages(failure)].map(({ schema, message }) => anyPack(schema, message)),
  });
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, status)));
  return { code, details: text, metadata };
}

function serverError(error: unknown): NapError {
  const message = error instanceof Error ? error.message : String(error);
  return new NapError("INTERNAL", `the server failed: ${message}`, {}, error);
}

interface Detail {
  schema: GenMessage<Message>;
  message: Message;
}

function* detailMessages({ reason, message, details }: NapError): Generator<Detail> {
  yield {
    schema: ErrorInfoSchema,
    message: create(ErrorInfoSchema, {
      reason: reason,
      domain: errorDomain,
      metadata: infoMetadata(details),
    }),
  };
  if (details.violations !== undefined) {
    const all = details.violations;
    const fieldViolations = all.slice(0, most.entries).map(({ field, description, reason }) => ({
      field: clip(field, most.text),
      description: clip(description, most.text),
      reason,
    }));
    const more = all.length - fieldViolations.length;
    const last = fieldViolations.at(-1);
    if (more > 0 && last) last.description = `${last.description} (and ${more} more violations)`;
    yield { schema: BadRequestSchema, message: create(BadRequestSchema, { fieldViolations }) };
  }
  if (codes[reason] === Code.FAILED_PRECONDITION) {
    const subjects = (details.users ?? [details.resource ?? ""]).slice(0, most.entries);
    const description = clip(message, most.text);
    const violations = subjects.map((subject) => ({ type: reason, subject, description }));
    yield {
      schema: PreconditionFailureSchema,
      message: create(PreconditionFailureSchema, { violations }),
    };
  }
  const resourceType = resourceTypes[reason];
  if (resourceType !== undefined) {
    const resourceName = details.resource ?? "";
    yield {
      schema: ResourceInfoSchema,
      message: create(ResourceInfoSchema, {
        resourceType,
        resourceName: clip(resourceName, most.text),
        description: clip(message, most.text),
      }),
    };
  }
  if (details.retryAfterMillis !== undefined) {
    const retryDelay = durationFromMs(details.retryAfterMillis);
    yield { schema: RetryInfoSchema, message: create(RetryInfoSchema, { retryDelay }) };
  }
}

/** The kinds of resource that a ResourceInfo names. */
const resourceTypes: Readonly<Record<string, string | undefined>> = {
  CONTAINER_NOT_FOUND: "nap.v1.Container",
  ENGINE_NOT_FOUND: "nap.v1.Engine",
  IMAGE_NOT_FOUND: "nap.v1.Image",
  NETWORK_NOT_FOUND: "nap.v1.Network",
  VOLUME_NOT_FOUND: "nap.v1.Volume",
};

function infoMetadata(details: ErrorDetails): Record<string, string> {
  const { engine, resource, engineMessage, cursor } = details;
  const metadata: Record<string, string> = {};
  if (cursor !== undefined) metadata["cursor"] = cursor;
  if (engine !== undefined) metadata["engine"] = engine;
  if (resource !== undefined) metadata["resource"] = clip(resource, most.text);
  if (engineMessage !== undefined) metadata["engine_message"] = clip(engineMessage, most.message);
  return metadata;
}

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
import type { ErrorDetails, ErrorKind } from "../contract/errors.js";
import { clip, NapError, toldViolations } from "../contract/errors.js";

/** The domain of every ErrorInfo. */
export const errorDomain = "nap.v1";

const codes: Readonly<Record<ErrorKind, Code>> = {
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
  ENGINE_DROPPED_FIELD: Code.FAILED_PRECONDITION,
  ENGINE_ERROR: Code.INTERNAL,
  ENGINE_NOT_FOUND: Code.NOT_FOUND,
  ENGINE_REQUIRED: Code.INVALID_ARGUMENT,
  ENGINE_UNREACHABLE: Code.UNAVAILABLE,
  EXEC_NOT_FOUND: Code.NOT_FOUND,
  EXIT_UNKNOWN: Code.DATA_LOSS,
  FIELD_INVALID: Code.INVALID_ARGUMENT,
  FIELD_UNKNOWN: Code.INVALID_ARGUMENT,
  FIELD_UNSUPPORTED_BY_ENGINE: Code.INVALID_ARGUMENT,
  FILE_KIND_CONFLICT: Code.FAILED_PRECONDITION,
  HEALTH_PROBE_MISSING: Code.FAILED_PRECONDITION,
  HOST_PORT_IN_USE: Code.FAILED_PRECONDITION,
  IMAGE_NOT_FOUND: Code.NOT_FOUND,
  LOGS_NOT_READABLE: Code.FAILED_PRECONDITION,
  MALFORMED_MESSAGE: Code.INVALID_ARGUMENT,
  METHOD_UNSUPPORTED_BY_ENGINE: Code.UNIMPLEMENTED,
  NAME_IN_USE: Code.ALREADY_EXISTS,
  NETWORK_DRIVER_NOT_FOUND: Code.NOT_FOUND,
  NETWORK_NOT_FOUND: Code.NOT_FOUND,
  NETWORK_PREDEFINED: Code.FAILED_PRECONDITION,
  PATH_NOT_DIRECTORY: Code.FAILED_PRECONDITION,
  PATH_NOT_FOUND: Code.NOT_FOUND,
  PATH_NOT_REACHABLE: Code.FAILED_PRECONDITION,
  PATH_READ_ONLY: Code.FAILED_PRECONDITION,
  PERMISSION_DENIED: Code.PERMISSION_DENIED,
  REGISTRY_AUTH_REQUIRED: Code.FAILED_PRECONDITION,
  REGISTRY_UNREACHABLE: Code.UNAVAILABLE,
  REQUEST_ID_REUSED: Code.INVALID_ARGUMENT,
  RESOURCE_BUSY: Code.ABORTED,
  RESOURCE_IN_USE: Code.FAILED_PRECONDITION,
  SERVER_ERROR: Code.INTERNAL,
  SERVER_STOPPING: Code.UNAVAILABLE,
  SLOW_CONSUMER: Code.RESOURCE_EXHAUSTED,
  SUBNET_IN_USE: Code.FAILED_PRECONDITION,
  TERMINAL_NOT_FOUND: Code.FAILED_PRECONDITION,
  TOO_MANY_CALLS: Code.RESOURCE_EXHAUSTED,
  UNAUTHENTICATED: Code.UNAUTHENTICATED,
  UPLOAD_TOO_LARGE: Code.RESOURCE_EXHAUSTED,
  VOLUME_DRIVER_NOT_FOUND: Code.NOT_FOUND,
  VOLUME_NOT_FOUND: Code.NOT_FOUND,
};

/**
 * A status travels in headers, which clients bound to as little as 8 KiB for all of them: what is
 * longer is cut, and says so.
 */
const messageCharacters = 1024;

/** A gRPC status as grpc-js takes it from an error. */
export interface GrpcStatus {
  readonly code: Code;
  readonly details: string;
  readonly metadata: Metadata;
}

/** The status for anything that a call can throw. */
export function statusOf(error: unknown): GrpcStatus {
  const failure = error instanceof NapError ? error : serverError(error);
  const code = codes[failure.kind];
  const text = clip(failure.message, messageCharacters);
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
  return new NapError("SERVER_ERROR", `the server failed: ${message}`, {}, error);
}

interface Detail {
  schema: GenMessage<Message>;
  message: Message;
}

function* detailMessages({ kind, message, details }: NapError): Generator<Detail> {
  yield {
    schema: ErrorInfoSchema,
    message: create(ErrorInfoSchema, {
      reason: kind,
      domain: errorDomain,
      metadata: infoMetadata(details),
    }),
  };
  if (details.violations !== undefined) {
    const all = details.violations;
    const fieldViolations = all
      .slice(0, toldViolations)
      .map(({ field, description, kind: reason }) => ({ field, description, reason }));
    const last = fieldViolations.at(-1);
    if (all.length > toldViolations && last) {
      last.description = `${last.description} (and more violations)`;
    }
    yield { schema: BadRequestSchema, message: create(BadRequestSchema, { fieldViolations }) };
  }
  if (codes[kind] === Code.FAILED_PRECONDITION) {
    const subjects = (details.users ?? [details.resource ?? ""]).slice(0, toldViolations);
    const description = clip(message);
    const violations = subjects.map((subject) => ({ type: kind, subject, description }));
    yield {
      schema: PreconditionFailureSchema,
      message: create(PreconditionFailureSchema, { violations }),
    };
  }
  const resourceType = resourceTypes[kind];
  if (resourceType !== undefined) {
    const resourceName = details.resource ?? "";
    yield {
      schema: ResourceInfoSchema,
      message: create(ResourceInfoSchema, {
        resourceType,
        resourceName: clip(resourceName),
        description: clip(message),
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
  if (resource !== undefined) metadata["resource"] = clip(resource);
  if (engineMessage !== undefined)
    metadata["engine_message"] = clip(engineMessage, messageCharacters);
  return metadata;
}

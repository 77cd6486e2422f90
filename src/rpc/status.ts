/** Converts errors to gRPC statuses. No other module does. */
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
import { ResumeInfoSchema } from "../../gen/nap/v1/errors_pb.js";
import { RetryAdvice, StatusCode } from "../../gen/nap/v1/rules_pb.js";
import type { ErrorDetails, Reason } from "../contract/errors.js";
import { clip, maxReportedViolations, NapError, reasonRules } from "../contract/errors.js";
import { withoutSecrets } from "../contract/secrets.js";

/** The domain of every ErrorInfo. */
export const errorDomain = "nap.v1";

const rules = reasonRules();

/** The minimum delay before a client retries a call. */
const retryMillis = 1000;

/**
 * The maximum length of a message. A status is sent in headers, for which some clients allow only 8 KiB in
 * total; longer messages are truncated visibly.
 */
const messageCharacters = 1024;

/** A gRPC status as grpc-js reads it from an error. */
export interface GrpcStatus {
  readonly code: Code;
  readonly details: string;
  readonly metadata: Metadata;
}

/** Returns the status for anything that a call can throw. It repeats none of the request's secrets. */
export function statusOf(error: unknown, secrets: readonly string[] = []): GrpcStatus {
  const failure = redacted(error instanceof NapError ? error : serverError(error), secrets);
  const code = Code[StatusCode[rules[failure.reason].code] as keyof typeof Code];
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

/** The same failure without secrets, which an engine or a registry may have repeated. */
function redacted(failure: NapError, secrets: readonly string[]): NapError {
  if (secrets.length === 0) return failure;
  const hide = (text: string): string => withoutSecrets(text, secrets);
  const { engineMessage, violations } = failure.details;
  return new NapError(failure.reason, hide(failure.message), {
    ...failure.details,
    ...(engineMessage !== undefined && { engineMessage: hide(engineMessage) }),
    ...(violations && {
      violations: violations.map((each) => ({ ...each, description: hide(each.description) })),
    }),
  });
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
    const fieldViolations = all
      .slice(0, maxReportedViolations)
      .map(({ field, description, reason }) => ({ field, description, reason }));
    const last = fieldViolations.at(-1);
    if (all.length > maxReportedViolations && last) {
      last.description = `${last.description} (and more violations)`;
    }
    yield { schema: BadRequestSchema, message: create(BadRequestSchema, { fieldViolations }) };
  }
  if (rules[reason].code === StatusCode.FAILED_PRECONDITION) {
    const subjects = (details.users ?? [details.resource ?? ""]).slice(0, maxReportedViolations);
    const description = clip(message);
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
        resourceName: clip(resourceName),
        description: clip(message),
      }),
    };
  }
  if (rules[reason].retry === RetryAdvice.LATER) {
    const retryDelay = durationFromMs(retryMillis);
    yield { schema: RetryInfoSchema, message: create(RetryInfoSchema, { retryDelay }) };
  }
  if (details.cursor !== undefined) {
    const { cursor } = details;
    yield { schema: ResumeInfoSchema, message: create(ResumeInfoSchema, { cursor }) };
  }
}

/** The types of the resources that a ResourceInfo names. */
const resourceTypes: Partial<Readonly<Record<Reason, string>>> = {
  CONTAINER_NOT_FOUND: "nap.v1.Container",
  ENGINE_NOT_FOUND: "nap.v1.Engine",
  IMAGE_NOT_FOUND: "nap.v1.Image",
  NETWORK_NOT_FOUND: "nap.v1.Network",
  VOLUME_NOT_FOUND: "nap.v1.Volume",
};

function infoMetadata(details: ErrorDetails): Record<string, string> {
  const { engine, resource, engineMessage } = details;
  const metadata: Record<string, string> = {};
  if (engine !== undefined) metadata["engine"] = engine;
  if (resource !== undefined) metadata["resource"] = clip(resource);
  if (engineMessage !== undefined)
    metadata["engine_message"] = clip(engineMessage, messageCharacters);
  return metadata;
}

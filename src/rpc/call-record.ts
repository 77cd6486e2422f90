/** The record of one call, as passed to the access log and the metrics. */
import { randomBytes } from "node:crypto";
import type { DescMethod } from "@bufbuild/protobuf";
import type { Metadata } from "@grpc/grpc-js";
import { status as Code } from "@grpc/grpc-js";
import type { FieldViolation } from "../contract/errors.js";
import { clip, maxReportedViolations, NapError } from "../contract/errors.js";

/** A call that has ended. It contains no text from the client or the engine except field paths. */
export interface CallRecord {
  /** For example `nap.v1.ContainerService/GetContainer`. */
  readonly method: string;
  readonly streaming: boolean;
  /** The name of the identity; empty if authentication failed. */
  readonly identity: string;
  /** The engine's name; empty if the call failed before or needs none. */
  readonly engine: string;
  /** The name of the gRPC code, for example `NOT_FOUND`. */
  readonly code: string;
  /** The reason of the failure; empty if the call succeeded. */
  readonly reason: string;
  /** The paths of the invalid fields, at most {@link maxReportedViolations}. */
  readonly fields: readonly FieldViolation["field"][];
  readonly traceId: string;
  readonly durationMillis: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** For an internal error, the kind of error and where in the code it arose, without the message. */
  readonly fault: string | undefined;
}

/** Receives every call and the state of the engines. Its methods must not throw. */
export interface Observer {
  callStarted(method: string): void;
  /** For a call that failed authentication, `callStarted` is not called. */
  callEnded(record: CallRecord): void;
  /** Called with the result of each probe of an engine. */
  engineProbed(engine: string, up: boolean): void;
}

/** Returns the trace id of the client's `traceparent` (W3C Trace Context), or a new one. */
export function traceIdOf(metadata: Metadata): string {
  const [sent] = metadata.get("traceparent");
  const id = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(String(sent ?? ""))?.[1];
  return id === undefined || /^0+$/.test(id) ? randomBytes(16).toString("hex") : id;
}

/** Returns the record of a call that failed authentication. */
export function refusedCall(method: string, metadata: Metadata): CallRecord {
  return {
    method,
    streaming: false,
    identity: "",
    engine: "",
    code: Code[Code.UNAUTHENTICATED],
    reason: "UNAUTHENTICATED",
    fields: [],
    traceId: traceIdOf(metadata),
    durationMillis: 0,
    receivedBytes: 0,
    sentBytes: 0,
    fault: undefined,
  };
}

/** Collects the record of a call in progress. */
export class CallRecorder {
  identity = "";
  engine = "";
  receivedBytes = 0;
  sentBytes = 0;
  readonly #method: DescMethod;
  readonly #name: string;
  readonly #traceId: string;
  readonly #observer: Observer;
  readonly #start = performance.now();

  constructor(method: DescMethod, metadata: Metadata, observer: Observer) {
    this.#method = method;
    this.#name = `${method.parent.typeName}/${method.name}`;
    this.#traceId = traceIdOf(metadata);
    this.#observer = observer;
    observer.callStarted(this.#name);
  }

  /** Passes the record of the ended call to the observer. */
  close(error?: unknown, code: Code = Code.OK): void {
    const failure = error instanceof NapError ? error : undefined;
    const isFault = error !== undefined && failure === undefined;
    this.#observer.callEnded({
      method: this.#name,
      streaming: this.#method.methodKind !== "unary",
      identity: this.identity,
      engine: this.engine,
      code: Code[code],
      reason: failure?.reason ?? (isFault ? "INTERNAL" : ""),
      fields: (failure?.details.violations ?? [])
        .slice(0, maxReportedViolations)
        .map(({ field }) => field),
      traceId: this.#traceId,
      durationMillis: performance.now() - this.#start,
      receivedBytes: this.receivedBytes,
      sentBytes: this.sentBytes,
      fault: isFault ? placeOf(error) : undefined,
    });
  }
}

/**
 * The maximum length of a stack: enough for Node's ten frames, and short enough for one line of the log,
 * which is dropped if it is too long.
 */
const placeCharacters = 4096;

/**
 * Returns the kind of an error and its stack frames. The message is left out, since it may contain text
 * from the client.
 */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const frames = (error.stack ?? "").split("\n").filter((line) => /^ {4}at /.test(line));
  return clip([error.name, ...frames.map((line) => line.trim())].join(" "), placeCharacters);
}

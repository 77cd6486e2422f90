/** What is told of calls to whoever keeps count or a log of them. */
import { randomBytes } from "node:crypto";
import type { DescMethod } from "@bufbuild/protobuf";
import type { Metadata } from "@grpc/grpc-js";
import { status as Code } from "@grpc/grpc-js";
import type { FieldViolation } from "../contract/errors.js";
import { clip, maxReportedViolations, NapError } from "../contract/errors.js";

/** A call that has ended. It holds nothing that its client or the engine has said. */
export interface CallRecord {
  /** For example `nap.v1.ContainerService/GetContainer`. */
  readonly method: string;
  readonly streaming: boolean;
  /** The name of the identity. Empty: nobody, and the call was refused. */
  readonly identity: string;
  /** The engine's name. Empty: the call did not come so far, or needs none. */
  readonly engine: string;
  /** The name of the gRPC code, for example `NOT_FOUND`. */
  readonly code: string;
  /** The reason of the failure. Empty: there was none. */
  readonly reason: string;
  /** The fields that were at fault, by their paths; of very many the first. */
  readonly fields: readonly FieldViolation["field"][];
  readonly traceId: string;
  readonly durationMillis: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Where the server itself is at fault: where in its code, without the message. */
  readonly fault: string | undefined;
}

/** Is told of every call and of every change of an engine. None of these may fail. */
export interface Observer {
  callStarted(method: string): void;
  /** Of a call that was refused at the door no start is told. */
  callEnded(record: CallRecord): void;
  /** An engine answers, or does not, as it was found just now. */
  engineProbed(engine: string, up: boolean): void;
}

/** The trace id that the client sends in `traceparent`, as W3C Trace Context says, or a new one. */
export function traceIdOf(metadata: Metadata): string {
  const [sent] = metadata.get("traceparent");
  const id = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(String(sent ?? ""))?.[1];
  return id === undefined || /^0+$/.test(id) ? randomBytes(16).toString("hex") : id;
}

/** The record of a call that nobody made who is known here. */
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

/** What is known so far of a call under way. */
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

  /** Tells the observer that the call has ended, and how. */
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
 * The most characters of where an error arose: more than Node's ten frames have, and few enough for one
 * line of the log, which is dropped whole where it is too long.
 */
const placeCharacters = 4096;

/** The kind of an error and where it arose. Its message may repeat what a client said. */
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  const frames = (error.stack ?? "").split("\n").filter((line) => /^ {4}at /.test(line));
  return clip([error.name, ...frames.map((line) => line.trim())].join(" "), placeCharacters);
}

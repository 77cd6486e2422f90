/** A gRPC client for the generated services, over grpc-js and a real socket. */
import type {
  DescMessage,
  DescMethod,
  DescService,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { CallOptions, ServiceError } from "@grpc/grpc-js";
import { Client, credentials, Metadata, status as Code } from "@grpc/grpc-js";
import type { BadRequest, ErrorInfo, ResourceInfo } from "../../gen/google/rpc/error_details_pb.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.js";
import { ResumeInfoSchema } from "../../gen/nap/v1/errors_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { meetReason } from "./reasons.js";

type Shapes = Pick<DescMethod, "input" | "output" | "methodKind">;
type Init<M extends Shapes> = MessageInitShape<M["input"]>;
type Reply<M extends Shapes> = MessageShape<M["output"]>;

/** What a call may be given beside its request. */
export interface CallControl {
  readonly signal?: AbortSignal;
  readonly timeoutMillis?: number;
  /** Sent as metadata. */
  readonly headers?: Readonly<Record<string, string>>;
}

type CallOf<M extends Shapes> = {
  unary: (request: Init<M>, control?: CallControl) => Promise<Reply<M>>;
  server_streaming: (request: Init<M>, control?: CallControl) => AsyncGenerator<Reply<M>>;
  client_streaming: (
    requests: AsyncIterable<Init<M>> | Iterable<Init<M>>,
    control?: CallControl,
  ) => Promise<Reply<M>>;
  bidi_streaming: (
    requests: AsyncIterable<Init<M>> | Iterable<Init<M>>,
    control?: CallControl,
  ) => AsyncGenerator<Reply<M>>;
}[M["methodKind"]];

/** The methods of a service as functions. */
export type ClientOf<S extends { method: GenServiceMethods }> = {
  [K in keyof S["method"]]: CallOf<S["method"][K]>;
};

/** The status of a failed call, its details decoded. */
export class RpcError extends Error {
  readonly code: Code;
  readonly reason: string;
  readonly info: ErrorInfo | undefined;
  readonly badRequest: BadRequest | undefined;
  readonly resource: ResourceInfo | undefined;
  /** The subjects of a PreconditionFailure. */
  readonly subjects: readonly string[];
  readonly retryAfterMillis: number | undefined;
  /** The cursor to go on from with a stream that ended early. */
  readonly cursor: string | undefined;

  constructor(
    cause: ServiceError,
    /** What the call sent. */
    readonly request: DescMessage,
  ) {
    super(`${Code[cause.code]}: ${cause.details}`, { cause });
    this.code = cause.code;
    const [bytes] = cause.metadata?.get("grpc-status-details-bin") ?? [];
    const details = bytes ? fromBinary(StatusSchema, bytes as Buffer).details : [];
    const find = <D extends DescMessage>(desc: D): MessageShape<D> | undefined =>
      details.map((any) => anyUnpack(any, desc)).find((found) => found !== undefined);
    this.info = find(ErrorInfoSchema);
    this.reason = this.info?.reason ?? "";
    meetReason(this.reason);
    this.badRequest = find(BadRequestSchema);
    this.resource = find(ResourceInfoSchema);
    const precondition = find(PreconditionFailureSchema);
    this.subjects = (precondition?.violations ?? []).map(({ subject }) => subject);
    const retry = find(RetryInfoSchema);
    this.cursor = find(ResumeInfoSchema)?.cursor;
    this.retryAfterMillis = retry?.retryDelay && Number(retry.retryDelay.seconds) * 1000;
  }

  /** The paths of the fields at fault. */
  get fields(): string[] {
    return (this.badRequest?.fieldViolations ?? []).map(({ field }) => field);
  }
}

/** One channel to a server, by default without encryption. */
export function openChannel(address: string, secure = credentials.createInsecure()): Client {
  const noLimit = { "grpc.max_receive_message_length": -1, "grpc.use_local_subchannel_pool": 1 };
  return new Client(address, secure, noLimit);
}

/** The client of a service over a channel. */
export function clientOf<T extends GenServiceMethods>(
  channel: Client,
  service: GenService<T>,
): ClientOf<GenService<T>> {
  const methods = (service as unknown as DescService).methods.map((method) => [
    method.localName,
    (input: object, control: CallControl = {}) => call(channel, method, input, control),
  ]);
  return Object.fromEntries(methods) as ClientOf<GenService<T>>;
}

/** A call of a method that is known only at run time, with all its requests. */
export function callOf(
  channel: Client,
  method: DescMethod,
  ...requests: object[]
): Promise<object> | AsyncGenerator<object> {
  const single = method.methodKind === "unary" || method.methodKind === "server_streaming";
  return call(channel, method, single ? requests[0]! : requests, {}) as ReturnType<typeof callOf>;
}

/** A call of a method with requests that are encoded already, as many as they are. Gives no replies. */
export async function rawCall(
  channel: Client,
  { name, parent, input }: DescMethod,
  requests: readonly Buffer[],
): Promise<void> {
  const identity = (bytes: Buffer): Buffer => bytes;
  const stream = channel.makeBidiStreamRequest(`/${parent.typeName}/${name}`, identity, identity);
  for (const request of requests) stream.write(request);
  stream.end();
  try {
    await all(stream);
  } catch (error) {
    throw new RpcError(error as ServiceError, input);
  }
}

function call(channel: Client, method: DescMethod, input: object, control: CallControl): unknown {
  const single = method.methodKind === "unary" || method.methodKind === "server_streaming";
  const requests = (single ? [input] : input) as Iterable<object> | AsyncIterable<object>;
  const replies = callStream(channel, method, requests, control);
  return method.methodKind === "unary" || method.methodKind === "client_streaming"
    ? only(replies)
    : replies;
}

async function only(replies: AsyncGenerator<object>): Promise<object> {
  const all: object[] = [];
  for await (const reply of replies) all.push(reply);
  if (all.length !== 1) throw new Error(`${all.length} replies instead of one`);
  return all[0]!;
}

async function* callStream(
  channel: Client,
  method: DescMethod,
  requests: Iterable<object> | AsyncIterable<object>,
  { signal, timeoutMillis, headers = {} }: CallControl,
): AsyncGenerator<object> {
  const options: CallOptions =
    timeoutMillis === undefined ? {} : { deadline: Date.now() + timeoutMillis };
  const stream = channel.makeBidiStreamRequest(
    `/${method.parent.typeName}/${method.name}`,
    (message: object) =>
      Buffer.from(toBinary(method.input, create(method.input, message as never))),
    (bytes: Buffer) => fromBinary(method.output, bytes),
    Metadata.fromHttp2Headers(headers),
    options,
  );
  const onAbort = (): void => stream.cancel();
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  const sending = (async () => {
    for await (const request of requests) {
      if (stream.destroyed) return;
      if (!stream.write(request)) await new Promise((resolve) => stream.once("drain", resolve));
    }
    stream.end();
  })();
  // A call that has failed takes no more requests; its status tells why.
  sending.catch((error: unknown) => stream.destroy(error as Error));
  let ended = false;
  try {
    for await (const reply of stream) yield reply as object;
    ended = true;
  } catch (error) {
    ended = true;
    throw (error as ServiceError).metadata === undefined
      ? error
      : new RpcError(error as ServiceError, method.input);
  } finally {
    signal?.removeEventListener("abort", onAbort);
    if (!ended) stream.cancel();
    stream.on("error", () => undefined);
  }
}

/** Awaits the failure of a call. */
export async function failure(outcome: Promise<unknown>): Promise<RpcError> {
  try {
    await outcome;
  } catch (error) {
    if (error instanceof RpcError) return error;
    throw error;
  }
  throw new Error("the call succeeded, and should have failed");
}

/** A message of a stream that brings or takes an archive. */
interface TransferMessage {
  readonly event: { readonly case: string | undefined; readonly value?: unknown };
}

/** Reads a stream to its end, and gives the result, which is its last message. */
export async function resultOf<M extends TransferMessage>(
  stream: AsyncIterable<M>,
): Promise<Extract<M["event"], { case: "result" }>["value"]> {
  const events = (await all(stream)).map(({ event }): TransferMessage["event"] => event);
  const last = events.pop();
  const others = new Set(events.map((event) => event.case));
  others.delete("progress");
  if (last?.case !== "result" || others.size > 0)
    throw new Error("the result is not the last message");
  return last.value;
}

/** Reads a stream to its end, and gives the bytes of its messages. */
export async function bytesOf(stream: AsyncIterable<TransferMessage>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const { event } of stream) {
    if (event.case === "data") chunks.push(event.value as Uint8Array);
  }
  return Buffer.concat(chunks);
}

/** Reads a stream to its end. */
export async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

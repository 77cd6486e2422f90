/**
 * Binds a generated service to grpc-js.
 *
 * On the wire the four kinds of RPC differ only in the number of messages that each side sends, so every
 * method is bound as a bidirectional stream: requests are decoded and passed to the handler, and the
 * responses that it yields are encoded and written with backpressure. The handler checks the number of
 * requests.
 */
import { setMaxListeners } from "node:events";
import type { DescMessage, DescMethod, DescService, Message } from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type {
  ServerDuplexStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import type { Call } from "../core/engine.js";
import type { Authenticator } from "./authenticate.js";
import type { CallTracker } from "./call-tracker.js";
import { fieldError, NapError } from "../contract/errors.js";
import type { Observer } from "./call-record.js";
import { CallRecorder } from "./call-record.js";
import type { RuleTable } from "../contract/validation/rules.js";
import type { RequestLimits } from "../contract/validation/request-limits.js";
import { checkLength, requestLimits } from "../contract/validation/request-limits.js";
import { secretsIn } from "../contract/secrets.js";
import { statusOf } from "./status.js";
import { scanWire } from "../contract/validation/wire-bounds.js";

/** Handles one call of a method. Its messages are of the method's types. */
export type Handler = (
  requests: AsyncIterable<Message>,
  call: Call,
  info: CallInfo,
) => AsyncIterable<Message>;

/** Information about a call that a {@link Handler} sets for the observer. */
export interface CallInfo {
  /** The engine's name, once it is known. */
  engine: string;
}

/** The arguments of `Server.addService`. */
export interface BoundService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

type GrpcCall = ServerDuplexStream<Buffer, Buffer>;

const identity = (bytes: Buffer): Buffer => bytes;

/** The dependencies of all services of one listener. */
export interface Binding {
  readonly calls: CallTracker;
  /** Returns the identity of callers. */
  readonly authenticator: Authenticator;
  readonly observer: Observer;
  /** The rules of the contract. */
  readonly rules: RuleTable;
}

/** Binds every method of `service` to the handler that `handlerOf` gives for it. */
export function bind(
  service: DescService,
  handlerOf: (method: DescMethod) => Handler,
  binding: Binding,
): BoundService {
  const definition: Record<string, ServiceDefinition[string]> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    const handler = handlerOf(method);
    const limits = requestLimits(method);
    definition[method.name] = {
      path: `/${service.typeName}/${method.name}`,
      requestStream: true,
      responseStream: true,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity,
    };
    implementation[method.name] = (call: GrpcCall) =>
      void binding.calls.track(serve(method, limits, handler, call, binding));
  }
  return { definition, implementation };
}

/** What a call receives. */
interface Incoming {
  readonly method: DescMethod;
  readonly limits: RequestLimits;
  readonly call: GrpcCall;
  readonly record: CallRecorder;
  /** The first message received. */
  first?: Message;
}

/** Serves one call to its end. It never rejects: every failure becomes the call's status. */
async function serve(
  method: DescMethod,
  limits: RequestLimits,
  handler: Handler,
  call: GrpcCall,
  { calls, authenticator, observer, rules }: Binding,
): Promise<void> {
  const abort = new AbortController();
  const { signal } = abort;
  // An engine may make several requests at once for one call.
  setMaxListeners(0, signal);
  call.once("cancelled", () => {
    abort.abort(new NapError("CALL_CANCELLED", "the call was cancelled or its deadline passed"));
  });
  const end = calls.endOf(method);
  const onStop = (): void => abort.abort(end.reason);
  end.addEventListener("abort", onStop, { once: true });
  const record = new CallRecorder(method, call.metadata, observer);
  const incoming: Incoming = { method, limits, call, record };
  try {
    const identity = authenticator.identityOf(call.metadata);
    record.identity = identity.name;
    calls.acquireSlot(identity);
    try {
      const requests = requestsOf(rules, incoming, signal);
      for await (const response of handler(requests, { signal, identity }, record)) {
        const bytes = toBinary(method.output, response);
        await write(call, bytes, signal);
        record.sentBytes += bytes.length;
      }
    } finally {
      calls.releaseSlot(identity);
    }
    call.end();
    record.close();
  } catch (error) {
    const { first } = incoming;
    // Secrets are in the request of a method that takes one, and in the first of a stream.
    const status = statusOf(error, first && secretsIn(rules, method.input, first));
    // A cancelled call has no reader for its status, and grpc-js has destroyed the stream.
    if (!call.cancelled) call.emit("error", status);
    record.close(error, status.code);
  } finally {
    end.removeEventListener("abort", onStop);
  }
}

/**
 * Yields the requests as the client sends them; the next one is read on demand. When the call has ended,
 * with any status, a reader that still waits for a request fails with CALL_CANCELLED.
 *
 * This does not use `call.iterator()`, which destroys the stream if a status is set while it waits; a
 * status queued after a message that is not yet written would then never be sent.
 */
async function* requestsOf(
  rules: RuleTable,
  incoming: Incoming,
  signal: AbortSignal,
): AsyncGenerator<Message> {
  const { method, limits, call, record } = incoming;
  let wake = (): void => undefined;
  const onEvent = (): void => wake();
  for (const event of ["readable", "end"]) call.on(event, onEvent);
  signal.addEventListener("abort", onEvent, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const bytes = call.read() as Buffer | null;
      if (bytes !== null) {
        record.receivedBytes += bytes.length;
        const limit = incoming.first === undefined ? limits.first : limits.following;
        checkLength(method, bytes.length, limit);
        const request = decode(rules, method.input, bytes);
        incoming.first ??= request;
        yield request;
      } else if (call.readableEnded) {
        return;
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
      }
    }
  } finally {
    for (const event of ["readable", "end"]) call.off(event, onEvent);
    signal.removeEventListener("abort", onEvent);
  }
}

/**
 * Decodes a message. Its bounds are checked first, since decoding and checking a message that exceeds them
 * costs a multiple of its size.
 */
export function decode(rules: RuleTable, desc: DescMessage, bytes: Uint8Array): Message {
  const { violations } = orMalformed(desc, () => scanWire(rules, desc, bytes));
  if (violations.length > 0) throw fieldError(violations);
  return orMalformed(desc, () => fromBinary(desc, bytes));
}

function orMalformed<T>(desc: DescMessage, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const message = `the bytes received are not a ${desc.typeName}`;
    throw new NapError("MALFORMED_MESSAGE", message, {}, error);
  }
}

/**
 * Writes one message and waits until the transport has taken it, so that a client that stops reading
 * pauses the handler, and at most one message is buffered here.
 */
async function write(call: GrpcCall, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    call.write(
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
      (error: Error | null | undefined) => {
        signal.removeEventListener("abort", onAbort);
        if (error) reject(error);
        else resolve();
      },
    );
  });
}

/**
 * Binds a generated service to grpc-js.
 *
 * On the wire the four kinds of RPC differ only in how many messages each side sends, so every
 * method is bound as a stream in both directions and there is one way for all: messages are decoded,
 * handed to the handler, and what it yields is encoded and written with backpressure. How many
 * messages there must be is the handler's to say.
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
import type { Gate } from "./authenticate.js";
import { fieldError, NapError } from "../contract/errors.js";
import type { Identity } from "../auth/identity.js";
import type { Observer } from "./call-record.js";
import { OpenRecord } from "./call-record.js";
import type { RuleTable } from "../contract/rules.js";
import type { RequestLimits } from "../contract/request-limits.js";
import { checkLength, requestLimits } from "../contract/request-limits.js";
import { secretsIn } from "../contract/secrets.js";
import { statusOf } from "./status.js";
import { scanWire } from "../contract/wire-bounds.js";

/** Answers one call of a method. Its messages are of the method's types. */
export type Handler = (
  requests: AsyncIterable<Message>,
  call: Call,
  trail: Trail,
) => AsyncIterable<Message>;

/** What {@link Handler}s find out on the way of a call, for the observer. */
export interface Trail {
  /** The engine's name, once it is known. */
  engine: string;
}

/** A service as `Server.addService` takes it. */
export interface BoundService {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

type GrpcCall = ServerDuplexStream<Buffer, Buffer>;

const identity = (bytes: Buffer): Buffer => bytes;

/** The calls that a server has under way. */
export class Calls {
  readonly #running = new Set<Promise<void>>();
  readonly #counts = new Map<Identity, number>();
  readonly #streams = new AbortController();
  readonly #others = new AbortController();

  constructor() {
    // Every call under way listens to one of them.
    setMaxListeners(0, this.#streams.signal, this.#others.signal);
  }

  /** Aborted when a call of this method must end since the server stops. */
  endOf({ methodKind }: DescMethod): AbortSignal {
    return (methodKind === "unary" ? this.#others : this.#streams).signal;
  }

  track(call: Promise<void>): Promise<void> {
    this.#running.add(call);
    return call.finally(() => this.#running.delete(call));
  }

  /** Counts a call of this identity. Fails with CONCURRENCY_LIMIT_EXCEEDED where it has as many as it may. */
  enter(identity: Identity): void {
    const count = this.#counts.get(identity) ?? 0;
    if (count >= identity.maxCalls) {
      const message = `the identity "${identity.name}" has ${count} calls under way, and may have no more`;
      throw new NapError("CONCURRENCY_LIMIT_EXCEEDED", message);
    }
    this.#counts.set(identity, count + 1);
  }

  /** Takes back one {@link enter}. */
  leave(identity: Identity): void {
    this.#counts.set(identity, (this.#counts.get(identity) ?? 1) - 1);
  }

  /** Ends all streams; other calls may finish. */
  endStreams(): void {
    this.#streams.abort(stopping());
  }

  /** Ends all calls that know how to. */
  endAll(): void {
    this.#others.abort(stopping());
  }

  /** Resolves when no call is under way, its clean-up included. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }
}

function stopping(): NapError {
  return new NapError("SERVER_SHUTTING_DOWN", "the server stops");
}

/** What all services of one listener are bound with. */
export interface Binding {
  readonly calls: Calls;
  /** Tells who calls. */
  readonly gate: Gate;
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
  readonly record: OpenRecord;
  /** The first message received. */
  first?: Message;
}

/** Serves one call to its end. It never rejects: every failure becomes the call's status. */
async function serve(
  method: DescMethod,
  limits: RequestLimits,
  handler: Handler,
  call: GrpcCall,
  { calls, gate, observer, rules }: Binding,
): Promise<void> {
  const abort = new AbortController();
  const { signal } = abort;
  // An engine may have several requests of its own under way for one call.
  setMaxListeners(0, signal);
  call.once("cancelled", () => {
    abort.abort(new NapError("CALL_CANCELLED", "the call was cancelled or its deadline passed"));
  });
  const end = calls.endOf(method);
  const onStop = (): void => abort.abort(end.reason);
  end.addEventListener("abort", onStop, { once: true });
  const record = new OpenRecord(method, call.metadata, observer);
  const incoming: Incoming = { method, limits, call, record };
  try {
    const identity = gate.identityOf(call.metadata);
    record.identity = identity.name;
    calls.enter(identity);
    try {
      const requests = requestsOf(rules, incoming, signal);
      for await (const response of handler(requests, { signal, identity }, record)) {
        const bytes = toBinary(method.output, response);
        await write(call, bytes, signal);
        record.sentBytes += bytes.length;
      }
    } finally {
      calls.leave(identity);
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
 * The requests as the client sends them; the next one is read when it is asked for. When the call is
 * over, with whatever status, a reader that still waits for a request is told CALL_CANCELLED.
 *
 * Not `call.iterator()`: where a status is given while that waits, it destroys the stream, and a
 * status that waits behind a message not yet written is never sent.
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
 * The message that the bytes are. Its bounds are judged first, since what breaks them costs a multiple of
 * its bytes to decode and to check.
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
 * stops the handler, and no more than one message waits here.
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

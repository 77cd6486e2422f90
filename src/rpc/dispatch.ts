/**
 * Dispatches every call of the contract: validates the request, selects the engine, checks what it
 * supports, and calls its method.
 *
 * This path is the same for all RPCs; a new RPC needs changes only in the contract and the engines.
 */
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { privilegedFields } from "../auth/privileged-fields.js";
import type { Call, Engine } from "../core/engine.js";
import type { FieldViolation } from "../contract/errors.js";
import { fieldError, firstOf, NapError } from "../contract/errors.js";
import { openField } from "../contract/open.js";
import { scopeToOwner } from "../core/ownership/ownership.js";
import type { Engines } from "../core/engines.js";
import { services } from "../core/engines.js";
import { unsupportedFields } from "../contract/unsupported.js";
import type { Binding, BoundService, CallInfo, Handler } from "./grpc-adapter.js";
import { bind } from "./grpc-adapter.js";
import { authorizeMethod, authorizeRequest } from "../auth/roles.js";
import type { RuleTable } from "../contract/validation/rules.js";
import { contractViolations } from "../contract/validation/validate.js";

type EngineMember = (typeof services)[number]["member"];

/** The message that names the engine. All requests except that of ListEngines have one. */
type Target = Message & { readonly engine?: string };

/** A method, and the field `open` of its streamed requests. */
interface Route {
  readonly rules: RuleTable;
  readonly member: EngineMember;
  readonly method: DescMethod;
  /** Undefined if the method takes one request. */
  readonly open: ReturnType<typeof openField>;
}

/** The methods of an engine without their types, which {@link Handler} erases. */
type UntypedMethods = Readonly<Record<string, UntypedMethod | undefined>>;
type UntypedMethod = (
  input: Message | AsyncIterable<Message>,
  call: Call,
) => Promise<Message> | AsyncGenerator<Message>;

/** Returns the first violations in a request. */
type Check = (request: Message) => FieldViolation[];

/** Binds the services of the contract to the engines. */
export function routes(engines: Engines, binding: Binding): BoundService[] {
  return services.map(({ desc, member }) =>
    bind(
      desc,
      (method) => {
        const way = { rules: binding.rules, member, method, open: openField(method.input) };
        return (requests, call, info) => dispatch(engines, way, requests, call, info);
      },
      binding,
    ),
  );
}

async function* dispatch(
  engines: Engines,
  way: Route,
  requests: AsyncIterable<Message>,
  call: Call,
  info: CallInfo,
): ReturnType<Handler> {
  const { rules, member, method } = way;
  authorizeMethod(call.identity, method);
  const incoming = requests[Symbol.asyncIterator]();
  const first = await nextRequest(incoming);
  if (first === undefined) throw missingRequest(method);
  const ownMethods = (member === "system" ? engines.methods : {}) as UntypedMethods;
  const own = ownMethods[method.localName];
  const broken: Check = (request) => firstOf(contractViolations(rules, method.input, request));
  const violations = broken(first);
  const target = targetOf(way, first);
  if (target === undefined) {
    throw fieldError([...violations, invalidOpen("is required in the first message")]);
  }
  if (own !== undefined) {
    refuse(violations);
    try {
      yield* answers(own(first, call));
    } catch (error) {
      const unreachable = error instanceof NapError && error.reason === "ENGINE_UNREACHABLE";
      throw unreachable
        ? withEngine(error, engines.get(target.engine ?? "", call.identity))
        : error;
    }
    return;
  }
  const engine = engines.get(target.engine ?? "", call.identity);
  info.engine = engine.name;
  // The error of a stream has the cursor from which it can continue.
  let cursor: string | undefined;
  authorizeRequest(call.identity, first, privilegedFields(method.input, first));
  try {
    const visible = call.identity.ownResourcesOnly ? scopeToOwner(engine, call.identity) : engine;
    const implementation = implementationOf(visible, member, method);
    const input = await admit(engine, broken, violations, way, first, incoming, call);
    for await (const answer of answers(implementation(input, call))) {
      cursor = (answer as { cursor?: string }).cursor || cursor;
      yield answer;
    }
  } catch (error) {
    const failure = diskError(error);
    throw failure instanceof NapError ? withEngine(failure, engine, cursor) : failure;
  }
}

/** Converts an ENOSPC error of an engine that has no daemon and writes to its disk itself. */
function diskError(error: unknown): unknown {
  if ((error as NodeJS.ErrnoException | undefined)?.code !== "ENOSPC") return error;
  return new NapError("ENGINE_DISK_FULL", "the engine's disk is full", {}, error);
}

/** Connects to the engine, checks the first request, and returns the method's input. */
async function admit(
  engine: Engine,
  broken: Check,
  violations: FieldViolation[],
  way: Route,
  first: Message,
  incoming: AsyncIterator<Message>,
  call: Call,
): Promise<Message | AsyncIterable<Message>> {
  const { method } = way;
  // Violations of the contract are reported even if the engine is unreachable.
  const connection = await engine.connect(call.signal).catch((error: unknown) => {
    refuse(violations);
    throw error;
  });
  const check: Check = (request) =>
    firstOf(unsupportedFields(connection.support, method.input, request));
  refuse([...violations, ...check(first)]);
  if (way.open === undefined) {
    if ((await nextRequest(incoming)) !== undefined) {
      throw new NapError("MALFORMED_MESSAGE", `${method.name} takes one request`);
    }
    return first;
  }
  return checkedStream(way, first, incoming, (request) => [...broken(request), ...check(request)]);
}

/** Yields the requests of a stream, and checks those after the first as they arrive. */
async function* checkedStream(
  way: Route,
  first: Message,
  incoming: AsyncIterator<Message>,
  check: Check,
): AsyncGenerator<Message> {
  yield first;
  for (;;) {
    const request = await nextRequest(incoming);
    if (request === undefined) return;
    if (targetOf(way, request) !== undefined) {
      throw fieldError([invalidOpen("stands in the first message alone")]);
    }
    refuse(check(request));
    yield request;
  }
}

/** Returns the request itself or, for a stream, its `open`; undefined for other requests of a stream. */
function targetOf({ method, open }: Route, request: Message): Target | undefined {
  if (open === undefined) return request;
  const reflected = reflect(method.input, request);
  return reflected.isSet(open) ? reflected.get(open).message : undefined;
}

function invalidOpen(description: string): FieldViolation {
  return { field: "open", description, reason: "FIELD_INVALID" };
}

async function nextRequest(incoming: AsyncIterator<Message>): Promise<Message | undefined> {
  const next = await incoming.next();
  return next.done ? undefined : next.value;
}

function refuse(violations: readonly FieldViolation[]): void {
  if (violations.length > 0) throw fieldError(violations);
}

function implementationOf(engine: Engine, member: EngineMember, method: DescMethod): UntypedMethod {
  const implementation = (engine[member] as UntypedMethods | undefined)?.[method.localName];
  if (implementation !== undefined) return implementation;
  const message = `an engine of the kind ${engine.kind} does not have ${method.name}`;
  throw new NapError("METHOD_UNSUPPORTED", message);
}

async function* answers(
  outcome: Promise<Message> | AsyncGenerator<Message>,
): AsyncGenerator<Message> {
  if (Symbol.asyncIterator in outcome) yield* outcome;
  else yield await outcome;
}

function missingRequest(method: DescMethod): NapError {
  return new NapError("MALFORMED_MESSAGE", `${method.name} needs a request, and none was sent`);
}

/** Adds the engine's name and the last cursor sent to an error, so that engines need not do so. */
function withEngine(
  { reason, message, details, cause }: NapError,
  { name }: Engine,
  cursor?: string,
): NapError {
  const known = { ...(cursor !== undefined && { cursor }), ...details, engine: name };
  return new NapError(reason, `${name}: ${message}`, known, cause);
}

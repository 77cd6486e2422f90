/**
 * WaitContainer for every engine. The container is inspected after watching the journal has begun, so no
 * event is missed in between, and a wait survives a restart of the engine.
 */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { create } from "@bufbuild/protobuf";
import type {
  Container,
  WaitContainerRequest,
  WaitContainerResponse,
} from "../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerState,
  HealthStatus,
  WaitCondition,
  WaitContainerResponseSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import type { ExitStatus } from "../../../gen/nap/v1/types_pb.js";
import { ExitStatusSchema } from "../../../gen/nap/v1/types_pb.js";
import { NapError, undefinedIf } from "../../contract/errors.js";
import type { EventSource } from "../events/stream.js";
import type { PastExit } from "../events/exit-cache.js";
import { compareTimes } from "../lists/filters.js";

/** Finds a container by id, unique prefix or name. Fails with CONTAINER_NOT_FOUND and AMBIGUOUS_ID. */
export type FindContainer = (key: string, signal: AbortSignal) => Promise<Container>;

type Outcome = Exclude<WaitContainerResponse["event"], { case: undefined | "ready" }>;

/**
 * Waits for a condition. Fails with CONTAINER_NOT_FOUND, NO_HEALTH_CHECK, and EXIT_STATUS_UNKNOWN if the
 * exit status was lost.
 */
export async function* waitContainer(
  source: EventSource,
  find: FindContainer,
  { container: key, condition }: WaitContainerRequest,
  signal: AbortSignal,
): AsyncGenerator<WaitContainerResponse> {
  const { journal } = source;
  const position = journal.end;
  const container = await undefinedIf("CONTAINER_NOT_FOUND", find(key, signal));
  if (container === undefined) {
    const { id, exit } = await pastExit(source, key, condition, signal);
    yield ready(source.engine, id);
    yield response({ case: "exited", value: exit });
    return;
  }
  const watch = { source, find, container, position, signal };
  if (condition === WaitCondition.HEALTHY) requireProbe(container);
  yield ready(source.engine, container.id);
  yield response(await outcomes[condition](watch));
}

/** A container as it was found, and the journal's position before it was inspected. */
interface Watch {
  readonly source: EventSource;
  readonly find: FindContainer;
  readonly container: Container;
  readonly position: number;
  readonly signal: AbortSignal;
}

const outcomes: Readonly<Record<WaitCondition, (watch: Watch) => Promise<Outcome>>> = {
  [WaitCondition.UNSPECIFIED]: untilStopped,
  [WaitCondition.NOT_RUNNING]: untilStopped,
  [WaitCondition.NEXT_EXIT]: untilNextExit,
  [WaitCondition.REMOVED]: untilRemoved,
  [WaitCondition.HEALTHY]: untilHealthy,
};

async function untilStopped(watch: Watch): Promise<Outcome> {
  const { source, container, signal } = watch;
  if (runs(container)) return untilNextExit(watch);
  if (container.exit !== undefined) return exited(container.exit);
  // The inspection of a container that is about to be restarted does not show its exit.
  await source.flushed(signal);
  return exited(lastExit(watch, false));
}

async function untilNextExit(watch: Watch): Promise<Outcome> {
  const { container, find, signal } = watch;
  const { exit, startTime } = container;
  // Events of earlier runs may arrive after the container was inspected.
  let since = runs(container) ? (startTime ?? container.createTime) : undefined;
  for await (const { action, time, details } of eventsOf(watch)) {
    const end = details.case === "exit" ? details.value : undefined;
    if (action === EventAction.START) {
      if (since === undefined && isAfter(time, exit?.finishTime)) since = time;
    } else if (action === EventAction.EXIT && since !== undefined && !isAfter(since, time)) {
      const now = await undefinedIf("CONTAINER_NOT_FOUND", find(container.id, signal));
      // The engine's own exit status is more exact, unless it already belongs to another run.
      const known = now?.exit;
      return exited(known !== undefined && known.code === end?.code ? known : end);
    } else if (action === EventAction.REMOVE) {
      throw gone(container);
    }
  }
  throw signal.reason;
}

async function untilRemoved(watch: Watch): Promise<Outcome> {
  let lost = false;
  for await (const { action, details } of eventsOf(watch)) {
    if (action === EventAction.START) lost = false;
    if (action === EventAction.EXIT) lost = details.case !== "exit";
    if (action === EventAction.REMOVE) return exited(lastExit(watch, lost));
  }
  throw watch.signal.reason;
}

async function untilHealthy(watch: Watch): Promise<Outcome> {
  const { container, find, signal } = watch;
  if (isHealthy(container)) return { case: "healthy", value: healthy };
  for await (const { action } of eventsOf(watch)) {
    if (action === EventAction.REMOVE) throw gone(container);
    if (action !== EventAction.HEALTH_STATUS) continue;
    if (isHealthy(await find(container.id, signal))) return { case: "healthy", value: healthy };
  }
  throw signal.reason;
}

const healthy = { $typeName: "nap.v1.WaitHealthy" } as const;

/** Yields the events of the container from the position on, until the signal aborts. */
async function* eventsOf({ source, container, position, signal }: Watch): AsyncGenerator<Event> {
  for (let at = position; ;) {
    const chunk = await source.journal.next(at, signal);
    at = chunk.position;
    for (const event of chunk.events) {
      const { resource, resourceId } = event;
      if (resource === EventResource.CONTAINER && resourceId === container.id) yield event;
    }
  }
}

/** Returns the exit of a removed container, if it is in the cache and the request waits for an exit. */
async function pastExit(
  source: EventSource,
  key: string,
  condition: WaitCondition,
  signal: AbortSignal,
): Promise<PastExit> {
  const past = condition !== WaitCondition.NEXT_EXIT && condition !== WaitCondition.HEALTHY;
  let found = past ? source.exits.find(key) : undefined;
  if (past && found === undefined) {
    // The exit may not have reached the journal yet.
    await source.flushed(signal);
    found = source.exits.find(key);
  }
  if (found !== undefined) return found;
  throw new NapError("CONTAINER_NOT_FOUND", `no such container: ${key}`, { resource: key });
}

/** Returns the exit status of the last run. As on Docker it is 0 for a container that never ran. */
function lastExit({ source, container }: Watch, lost: boolean): ExitStatus | undefined {
  if (lost) return undefined;
  const { id, exit, startTime } = container;
  const known = source.exits.find(id)?.exit ?? exit;
  return known ?? (startTime ? undefined : create(ExitStatusSchema, { code: 0, oomKilled: false }));
}

function exited(exit: ExitStatus | undefined): Outcome {
  if (exit !== undefined) return { case: "exited", value: exit };
  const message = "the container has ended, and how is not known: it could not be seen then";
  throw new NapError("EXIT_STATUS_UNKNOWN", message);
}

function runs({ state }: Container): boolean {
  return state === ContainerState.RUNNING || state === ContainerState.PAUSED;
}

function isHealthy(container: Container): boolean {
  return runs(container) && container.health === HealthStatus.HEALTHY;
}

function requireProbe({ id, name, health, spec }: Container): void {
  const check = spec?.healthCheck?.check.case;
  if (health !== HealthStatus.UNSPECIFIED || (check !== undefined && check !== "disabled")) return;
  const message = `container ${name} has no health check`;
  throw new NapError("NO_HEALTH_CHECK", message, { resource: id });
}

function gone({ id, name }: Container): NapError {
  const message = `container ${name} was removed meanwhile`;
  return new NapError("CONTAINER_NOT_FOUND", message, { resource: id });
}

/** Returns whether a time is later than another one, which may be undefined. */
function isAfter(time: Timestamp | undefined, other: Timestamp | undefined): boolean {
  return time !== undefined && (other === undefined || compareTimes(time, other) > 0);
}

function ready(engine: string, containerId: string): WaitContainerResponse {
  const event = { case: "ready", value: { engine, containerId } } as const;
  return create(WaitContainerResponseSchema, { event });
}

function response(event: Outcome): WaitContainerResponse {
  return create(WaitContainerResponseSchema, { event });
}

/**
 * The one subscription to a dockerd's events, however many clients there are.
 *
 * It begins at the engine's first use and is kept until the engine is closed, so that cursors and past
 * exits hold. When dockerd goes away, it connects again, reads the events that dockerd still stores, and
 * if those do not reach back to the last event received, derives the changes from lists.
 *
 * `await feed.subscribe(filter, signal)` yields the selected events in batches, across restarts of
 * dockerd. No event after it has resolved is missed.
 */
import { setMaxListeners } from "node:events";
import type { IncomingMessage } from "node:http";
import { create } from "@bufbuild/protobuf";
import type { Event, EventFilter } from "../../../../gen/nap/v1/engine_service_pb.js";
import {
  EventAction,
  EventResource,
  EventSchema,
} from "../../../../gen/nap/v1/engine_service_pb.js";
import { NapError } from "../../../contract/errors.js";
import type { EventSource } from "../../../core/events/stream.js";
import { ExitCache } from "../../../core/events/exit-cache.js";
import { identityOf, Journal } from "../../../core/events/journal.js";
import { eventMatches } from "../../../core/lists/filters.js";
import { queryTime } from "../../docker-http/time.js";
import { timestampNanos, timestampOf, timestampOfNanos } from "../../../lib/time.js";
import { sleep } from "../../../lib/sleep.js";
import type { DockerConnection } from "../connection.js";
import { eventOf } from "../../docker-http/convert/event.js";
import { Inventory } from "./inventory.js";
import type { InfoJson } from "../../docker-http/json.js";
import { lineBatches } from "../../docker-http/lines.js";

/** The number of events that dockerd stores (20.10 to 28). */
const dockerRemembers = 256;
/** dockerd's live order differs from the order that it stores by milliseconds. */
const overlapNanos = 1_000_000_000n;
/** The waits between attempts to connect again, in milliseconds. */
const firstPauseMillis = 50;
const longestPauseMillis = 2000;
/** The timeout of reading dockerd's stored events, which does not end if its clock has been set back. */
const lookMillis = 2000;
/** A connection over TCP whose other end has vanished is given up in about a minute. */
const keepAliveMillis = 30_000;

/** The maximum number of events buffered while lists are read; beyond it the subscription is restarted. */
const mostEarly = 16_384;

/** The events of one dockerd. */
export class EventFeed implements EventSource {
  readonly journal = new Journal();
  readonly exits = new ExitCache();
  readonly #docker: DockerConnection;
  readonly #closed = new AbortController();
  readonly #waiting = new Set<() => void>();
  readonly #inventory: Inventory;
  #running: Promise<void> | undefined;
  #subscribed = false;
  /** Counts the connections, since what was missed before one is repaired when it is made. */
  #session = 0;
  #lastNanos = 0n;
  #clockOffsetMillis = 0;

  constructor(docker: DockerConnection) {
    this.#docker = docker;
    // Every waiting request adds a listener to it.
    setMaxListeners(0, this.#closed.signal);
    this.#inventory = new Inventory(docker);
  }

  get engine(): string {
    return this.#docker.name;
  }

  get clockOffsetMillis(): number {
    return this.#clockOffsetMillis;
  }

  /** Begins to follow events, if that has not been done. */
  start(): void {
    this.#running ??= this.#run();
  }

  /**
   * Resolves once new events are appended to the journal. Rejects on abort, and with ENGINE_UNREACHABLE if
   * the subscription fails within dockerd's timeout.
   */
  async subscribed(signal: AbortSignal): Promise<this> {
    this.start();
    if (this.#subscribed) return this;
    const timeout = AbortSignal.timeout(this.#docker.timeoutMillis);
    const combined = AbortSignal.any([signal, timeout]);
    try {
      while (!this.#subscribed) await this.#change(combined);
    } catch (error) {
      signal.throwIfAborted();
      throw timeout.aborted
        ? this.#docker.unreachableError("its events cannot be followed")
        : error;
    }
    return this;
  }

  /** The selected events that happen after this has resolved, until the signal aborts. */
  async subscribe(
    filter: EventFilter | undefined,
    signal: AbortSignal,
  ): Promise<AsyncGenerator<Event[]>> {
    const { journal } = await this.subscribed(signal);
    let position = journal.end;
    return (async function* selected() {
      for (;;) {
        const chunk = await journal.next(position, signal);
        ({ position } = chunk);
        const events = chunk.events.filter((event) => eventMatches(event, filter));
        if (events.length > 0) yield events;
      }
    })();
  }

  async flushed(signal: AbortSignal): Promise<void> {
    await this.subscribed(signal);
    const session = this.#session;
    const until = BigInt(Math.ceil(Date.now() + this.#clockOffsetMillis)) * 1_000_000n;
    const stored = await this.#remembered(until, signal).catch(unlessAborted(signal));
    const missing = (event: Event): boolean => !this.journal.holds(identityOf(event));
    for (let left = stored?.filter(missing) ?? []; left.length > 0; left = left.filter(missing)) {
      // After a lost connection the lists have been read again.
      if (this.#session !== session) return;
      await this.#change(signal);
    }
  }

  /** Ends the subscription. */
  async close(): Promise<void> {
    this.#closed.abort(new NapError("SERVER_SHUTTING_DOWN", "the engine was closed"));
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    for (let pause = firstPauseMillis; !signal.aborted; pause *= 2) {
      const session = this.#session;
      // Failures are retried; calls detect by themselves that the engine is unreachable.
      await this.#follow(signal).catch(() => undefined);
      if (this.#session !== session) pause = firstPauseMillis;
      this.#subscribed = false;
      await sleep(Math.min(pause, longestPauseMillis), signal).catch(() => undefined);
    }
  }

  /** Connects, repairs the gap since the last connection, and reads events until the connection ends. */
  async #follow(signal: AbortSignal): Promise<void> {
    const { api } = this.#docker;
    await this.#docker.connect(signal, true);
    const asked = Date.now();
    const { body: info } = await api.json<InfoJson>({ path: "/info" }, signal);
    const now = timestampOf(info.SystemTime);
    if (now === undefined) throw new Error("dockerd does not say what time it is");
    const nowNanos = timestampNanos(now);
    this.#clockOffsetMillis = Number(nowNanos / 1_000_000n) - asked;
    const remembered = await this.#remembered(nowNanos, signal);
    const since = (remembered.at(-1) ? timeOf(remembered.at(-1)) : nowNanos) - overlapNanos;
    const query = { since: queryTime(timestampOfNanos(since > 0n ? since : 0n)) };
    const source = await api.stream({ path: "/events", query }, signal);
    source.socket.setKeepAlive(true, keepAliveMillis);
    await this.#take(source, remembered, nowNanos, signal);
  }

  async #take(
    source: IncomingMessage,
    remembered: readonly Event[],
    nowNanos: bigint,
    signal: AbortSignal,
  ): Promise<void> {
    const early: Event[] = [];
    let ready = false;
    // dockerd drops events for readers that are slow, so they are read while the lists are, too.
    const reading = (async () => {
      for await (const lines of lineBatches(this.#docker.api.read(source, signal))) {
        const events = lines.map((line) => eventOf(this.engine, line));
        if (ready) this.#append(events);
        else early.push(...events);
        if (!ready && early.length > mostEarly) throw new Error("too much happens at once");
      }
    })();
    const prepared = (async () => {
      const covered = this.#covers(remembered);
      if (!covered && this.#session > 0) this.journal.append(this.#lost(remembered[0], nowNanos));
      this.#append(remembered);
      const missed = await this.#inventory.reconcile(!covered, nowNanos, signal);
      for (const event of missed) this.journal.append(this.exits.record(event));
      this.#append(early);
      ready = true;
      this.#subscribed = true;
      this.#session++;
      this.#wake();
    })();
    try {
      // The reading ends before only where the connection is lost.
      await Promise.race([prepared, reading.then(() => Promise.reject(new Error("lost")))]);
      await reading;
    } finally {
      source.destroy();
      await Promise.allSettled([reading, prepared]);
      this.#subscribed = false;
    }
  }

  /** Returns the events that dockerd stores up to a time, in stored order. */
  async #remembered(untilNanos: bigint, signal: AbortSignal): Promise<Event[]> {
    const { api } = this.#docker;
    const query = { until: queryTime(timestampOfNanos(untilNanos)) };
    const combined = AbortSignal.any([signal, AbortSignal.timeout(lookMillis)]);
    const source = await api.stream({ path: "/events", query }, combined);
    const events: Event[] = [];
    for await (const lines of lineBatches(api.read(source, combined))) {
      events.push(...lines.map((line) => eventOf(this.engine, line)));
    }
    return events;
  }

  /** Returns whether dockerd's stored events reach back to the last event received. */
  #covers(remembered: readonly Event[]): boolean {
    const seen = (event: Event): boolean => this.journal.holds(identityOf(event));
    const [oldest] = remembered;
    if (oldest === undefined || !remembered.some(seen)) return false;
    // A dockerd with fewer events than it can store has discarded none.
    if (remembered.length < dockerRemembers) return true;
    return seen(oldest) && timeOf(oldest) <= this.#lastNanos - overlapNanos;
  }

  /** Returns the event which says that events before `next` may have been lost. */
  #lost(next: Event | undefined, nowNanos: bigint): Event {
    const end = next === undefined ? nowNanos : timeOf(next);
    const endTime = timestampOfNanos(end > this.#lastNanos ? end : nowNanos);
    const lost = { startTime: timestampOfNanos(this.#lastNanos), endTime };
    return create(EventSchema, {
      engine: this.engine,
      time: endTime,
      resource: EventResource.ENGINE,
      action: EventAction.EVENTS_LOST,
      resourceName: this.engine,
      synthetic: true,
      details: { case: "lost", value: lost },
    });
  }

  #append(events: readonly Event[]): void {
    for (const event of events) {
      if (this.journal.holds(identityOf(event))) continue;
      const time = timeOf(event);
      if (time > this.#lastNanos) this.#lastNanos = time;
      const created = this.#inventory.record(event);
      if (created !== undefined) this.journal.append(created);
      const { resource, action, resourceId } = event;
      const exited = resource === EventResource.CONTAINER && action === EventAction.EXIT;
      if (exited) this.#docker.unlistedExits.add(resourceId);
      this.journal.append(this.exits.record(event));
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves when something has changed. Rejects on abort, and when the engine is closed. */
  async #change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
    signal.throwIfAborted();
    this.#closed.signal.throwIfAborted();
  }
}

function timeOf(event: Event | undefined): bigint {
  return event?.time === undefined ? 0n : timestampNanos(event.time);
}

function unlessAborted(signal: AbortSignal): () => undefined {
  return () => {
    signal.throwIfAborted();
  };
}

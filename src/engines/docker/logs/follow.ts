/** Streams the logs of containers on Docker, from any cursor on, over restarts and rotations. */
import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  ContainerService,
  LogEntry,
  StreamContainerLogsRequest,
  StreamContainerLogsResponse,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  LogEndReason,
  LogGapReason,
  StreamContainerLogsRequestSchema,
  StreamContainerLogsResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { OutputStream } from "../../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../../core/engine.js";
import { NapError, undefinedIf } from "../../../contract/errors.js";
import { decodeLogCursor, encodeLogCursor, selectedStreams } from "../../../core/logs/cursor.js";
import type { LogPositions } from "../../../core/logs/position.js";
import { LogReader, positionAt } from "../../../core/logs/position.js";
import { positionsBeforeLast } from "../../../core/logs/tail.js";
import { timestampNanos, timestampOfNanos } from "../../../lib/time.js";
import { sleep, waitUntil } from "../../../lib/sleep.js";
import type { DockerConnection } from "../connection.js";
import type { ContainerRun } from "./restarts.js";
import { ContainerRuns, nanosOfText } from "./restarts.js";
import { inspectContainer } from "../containers/reads.js";
import type { EventFeed } from "../events/feed.js";
import type { ContainerJson } from "../../docker-http/json.js";
import type { LogRead } from "./source.js";
import { LogSource } from "./source.js";

/** A log that rotates is read again at most this often, in milliseconds. */
const shortestPauseMillis = 100;
/** It is read again after this time even if no growth was signalled. */
const longestPauseMillis = 2000;
/** Rereading may use at most 1/(1+idleShare) of the time. */
const idleShare = 4;

/** The calls on containers' logs. */
export function logMethods(docker: DockerConnection, feed: EventFeed) {
  return {
    streamContainerLogs: (request, call) => streamLogs(docker, feed, request, call),
  } satisfies Methods<typeof ContainerService>;
}

async function* streamLogs(
  docker: DockerConnection,
  feed: EventFeed,
  request: StreamContainerLogsRequest,
  { signal }: Call,
): AsyncGenerator<StreamContainerLogsResponse> {
  const json = await inspectContainer(docker, request.container, signal);
  const started = nanosOfText(json.State.StartedAt);
  const cursor = request.cursor === "" ? undefined : decodeLogCursor(request, json.Id);
  const known = cursor?.runNanos || started;
  const runs =
    request.follow && request.followRestarts
      ? await ContainerRuns.follow(docker, feed, json.Id, known, signal)
      : undefined;
  const positions = cursor?.positions ?? (await firstPositions(docker, json, request, signal));
  const log = new LogStream(docker, json, request, positions, known, runs, signal);
  try {
    yield log.ready();
    yield* log.messages();
  } finally {
    await runs?.close();
  }
}

/** The entries of a container's log from the beginning until it does not run. */
export async function* logUntilStopped(
  docker: DockerConnection,
  json: ContainerJson,
  signal: AbortSignal,
): AsyncGenerator<LogEntry[]> {
  const request = create(StreamContainerLogsRequestSchema, { container: json.Id, follow: true });
  const positions = await firstPositions(docker, json, request, signal);
  const started = nanosOfText(json.State.StartedAt);
  const log = new LogStream(docker, json, request, positions, started, undefined, signal);
  for await (const { event } of log.messages()) {
    if (event.case === "batch") yield event.value.entries;
  }
}

/** Returns the positions at which a stream without a cursor begins. */
async function firstPositions(
  docker: DockerConnection,
  json: ContainerJson,
  request: StreamContainerLogsRequest,
  signal: AbortSignal,
): Promise<LogPositions> {
  const { since, tailLines } = request;
  const streams = selectedStreams(request);
  const sinceNanos = since === undefined ? -1n : timestampNanos(since);
  const begin = positionAt(sinceNanos < 0n ? -1n : sinceNanos);
  const everything: LogPositions = new Map([...streams].map((stream) => [stream, begin]));
  if (tailLines === undefined) return everything;
  // dockerd counts entries of both streams.
  const both = new LogSource(docker, json, new Set([OutputStream.STDOUT, OutputStream.STDERR]));
  const last = await positionsBeforeLast(tailLines, streams, (tail) => both.read({ tail }, signal));
  const later = [...last].map(([stream, position]) => {
    return [stream, position.nanos < begin.nanos ? begin : position] as const;
  });
  return new Map(later);
}

type LogEvent = NonNullable<StreamContainerLogsResponse["event"]>;

/** One stream of one container's log. */
class LogStream {
  readonly #source: LogSource;
  readonly #reader: LogReader;
  #run: bigint;
  /** Runs whose first entry is still to come. */
  #coming: ContainerRun[] = [];

  constructor(
    private readonly docker: DockerConnection,
    private readonly json: ContainerJson,
    private readonly request: StreamContainerLogsRequest,
    positions: LogPositions,
    run: bigint,
    private readonly runs: ContainerRuns | undefined,
    private readonly signal: AbortSignal,
  ) {
    this.#source = new LogSource(docker, json, selectedStreams(request));
    this.#reader = new LogReader(positions);
    this.#run = run;
  }

  /** When the newest run that is known was started. */
  get #newestRun(): bigint {
    return this.#coming.at(-1)?.startNanos ?? this.#run;
  }

  /** The first message, whose cursor is where the stream begins. */
  ready(): StreamContainerLogsResponse {
    return this.#message({ case: "ready", value: this.#origin } as LogEvent);
  }

  get #origin(): { readonly engine: string; readonly containerId: string } {
    return { engine: this.docker.name, containerId: this.json.Id };
  }

  async *messages(): AsyncGenerator<StreamContainerLogsResponse> {
    const { request } = this;
    const deadline = new AbortController();
    const stopped = new AbortController();
    const combined = AbortSignal.any([this.signal, stopped.signal]);
    const untilMillis = request.until === undefined ? Infinity : timestampMs(request.until);
    // dockerd looks at the end of the span only when the next line comes.
    const timer = waitUntil(untilMillis + 1, combined).then(
      () => deadline.abort(),
      () => undefined,
    );
    try {
      const reason = yield* this.#all(deadline.signal);
      yield this.#message({ case: "end", value: { reason } } as LogEvent);
    } finally {
      stopped.abort();
      await timer;
    }
  }

  /** Everything that is asked for. A container may be removed at any time. */
  async *#all(
    deadline: AbortSignal,
  ): AsyncGenerator<StreamContainerLogsResponse, LogEndReason, undefined> {
    try {
      const reason = this.request.follow ? yield* this.#follow(deadline) : LogEndReason.COMPLETE;
      if (reason === LogEndReason.REMOVED) return reason;
      // Everything written before the deadline, or before the container stopped, is in the log now.
      yield* this.#pass({});
      const isThere = await undefinedIf(
        "CONTAINER_NOT_FOUND",
        inspectContainer(this.docker, this.json.Id),
      );
      if (isThere === undefined) return LogEndReason.REMOVED;
      yield* this.#missing();
      return reason;
    } catch (error) {
      if (!(error instanceof NapError) || error.reason !== "CONTAINER_NOT_FOUND") throw error;
      return LogEndReason.REMOVED;
    }
  }

  /** Follows until the span is over, or the container has stopped for good. */
  async *#follow(
    deadline: AbortSignal,
  ): AsyncGenerator<StreamContainerLogsResponse, LogEndReason, undefined> {
    for (;;) {
      // A run that begins while earlier entries are read is reported before its own entries.
      this.#coming.push(...(this.runs?.take() ?? []));
      if (this.#coming.length > 0) {
        yield* this.#pass({});
        for (const run of this.#coming.splice(0)) yield this.#started(run);
      }
      const before = this.#newestRun;
      yield* this.#source.rotates ? this.#again(deadline) : this.#live(deadline);
      if (deadline.aborted) return LogEndReason.COMPLETE;
      if (this.runs === undefined) return LogEndReason.STOPPED;
      yield* this.#pass({});
      // The entries may belong to a run that has been detected meanwhile.
      if (this.#newestRun !== before) continue;
      const waiting = AbortSignal.any([this.signal, deadline]);
      await this.runs.change(waiting).catch((error: unknown) => {
        if (!deadline.aborted || this.signal.aborted) throw error;
      });
      if (deadline.aborted) return LogEndReason.COMPLETE;
      if (this.runs.isGone) return LogEndReason.REMOVED;
    }
  }

  /** Follows a log that stays in one file. */
  async *#live(deadline: AbortSignal): AsyncGenerator<StreamContainerLogsResponse> {
    const combined = AbortSignal.any([this.signal, deadline]);
    try {
      yield* this.#pass({ follow: true }, combined);
    } catch (error) {
      if (!deadline.aborted || this.signal.aborted) throw error;
    }
  }

  /** Rereads a log that rotates until dockerd's own follow stream ends. */
  async *#again(deadline: AbortSignal): AsyncGenerator<StreamContainerLogsResponse> {
    const stop = new AbortController();
    const combined = AbortSignal.any([this.signal, deadline, stop.signal]);
    const growth = new LogGrowthSignal(this.#source.growth(combined));
    try {
      while (!deadline.aborted) {
        const isLast = growth.hasEnded;
        growth.reset();
        const start = performance.now();
        yield* this.#pass({});
        if (isLast) break;
        const pause = Math.max(shortestPauseMillis, idleShare * (performance.now() - start));
        await sleep(pause, combined).catch(rethrowUnlessPassed(deadline, this.signal));
        await growth
          .wait(longestPauseMillis, combined)
          .catch(rethrowUnlessPassed(deadline, this.signal));
      }
    } finally {
      stop.abort();
      await growth.end;
    }
    growth.throwFailure(combined);
  }

  /** One pass over the log: everything in it that has not been delivered. */
  async *#pass(
    read: Pick<LogRead, "follow">,
    signal = this.signal,
  ): AsyncGenerator<StreamContainerLogsResponse> {
    this.#reader.begin();
    const { sinceNanos } = this.#reader;
    for await (const entries of this.#source.read({ sinceNanos, ...read }, signal)) {
      await this.#learnRuns(entries);
      yield* this.#deliver(entries);
    }
  }

  /**
   * Detects a run before its entries are delivered. dockerd reports a start after the container has begun
   * to write, but the end of the previous run at once.
   */
  async #learnRuns(entries: readonly LogEntry[]): Promise<void> {
    const { runs } = this;
    if (runs === undefined) return;
    this.#coming.push(...runs.take());
    const times = entries.map(({ time }) => (time === undefined ? 0n : timestampNanos(time)));
    const last = times.reduce((latest, nanos) => (nanos > latest ? nanos : latest), 0n);
    const { id, docker } = { id: this.json.Id, docker: this.docker };
    const now = await undefinedIf("CONTAINER_NOT_FOUND", inspectContainer(docker, id, this.signal));
    const ended = now === undefined ? 0n : nanosOfText(now.State.FinishedAt);
    const isUnknown = (): boolean => last > ended && ended > this.#newestRun && !runs.isGone;
    while (isUnknown()) {
      await runs.change(this.signal);
      this.#coming.push(...runs.take());
    }
  }

  *#deliver(entries: readonly LogEntry[]): Generator<StreamContainerLogsResponse> {
    const untilNanos = this.request.until && timestampNanos(this.request.until);
    let batch: LogEntry[] = [];
    const flush = (): StreamContainerLogsResponse[] => {
      const full = batch;
      batch = [];
      if (full.length === 0) return [];
      return [
        this.#message({ case: "batch", value: { entries: full, ...this.#origin } } as LogEvent),
      ];
    };
    const wanted = entries.filter(
      ({ time }) => untilNanos === undefined || !time || timestampNanos(time) <= untilNanos,
    );
    // One entry at a time, so that the cursor of a message is behind what is in it and before the rest.
    for (const entry of wanted) {
      for (const fresh of this.#reader.take([entry])) {
        if (fresh.kind === "gap") {
          yield* flush();
          yield this.#gap(fresh.fromNanos, fresh.toNanos);
          continue;
        }
        while (this.#coming[0] !== undefined && fresh.nanos > this.#coming[0].boundaryNanos) {
          yield* flush();
          yield this.#started(this.#coming.shift()!);
        }
        batch.push(fresh.entry);
      }
    }
    yield* flush();
  }

  /**
   * Yields a gap if delivered entries are no longer in the log and no new ones have come: others may be
   * lost, too.
   */
  *#missing(): Generator<StreamContainerLogsResponse> {
    const from = this.#reader.anchorNanos;
    if (!this.#reader.positionLost || from === undefined) return;
    yield this.#gap(from, BigInt(Date.now()) * 1_000_000n);
  }

  #gap(fromNanos: bigint, toNanos: bigint): StreamContainerLogsResponse {
    const [startTime, endTime] = [timestampOfNanos(fromNanos), timestampOfNanos(toNanos)];
    const value = { startTime, endTime, reason: LogGapReason.ROTATED, ...this.#origin };
    return this.#message({ case: "gap", value } as LogEvent);
  }

  #started({ startNanos }: ContainerRun): StreamContainerLogsResponse {
    this.#run = startNanos;
    const value = { startTime: timestampOfNanos(startNanos) };
    return this.#message({ case: "runStart", value } as LogEvent);
  }

  #message(event: LogEvent): StreamContainerLogsResponse {
    const { positions } = this.#reader;
    const at = { container: this.json.Id, positions, runNanos: this.#run };
    return create(StreamContainerLogsResponseSchema, { event, cursor: encodeLogCursor(at) });
  }
}

/** Signals that the log has grown. */
class LogGrowthSignal {
  readonly end: Promise<void>;
  #hasGrown = false;
  #hasEnded = false;
  #failure: unknown;
  #wake: (() => void) | undefined;

  constructor(writes: AsyncGenerator<void>) {
    this.end = this.#listen(writes);
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  async #listen(writes: AsyncGenerator<void>): Promise<void> {
    try {
      for await (const _ of writes) {
        this.#hasGrown = true;
        this.#wake?.();
      }
    } catch (error) {
      this.#failure = error;
    }
    this.#hasEnded = true;
    this.#wake?.();
  }

  reset(): void {
    this.#hasGrown = false;
  }

  /** Resolves when the log has grown since the last reset or has ended, or after `millis`. */
  async wait(millis: number, signal: AbortSignal): Promise<void> {
    if (this.#hasGrown || this.#hasEnded) return;
    const done = new AbortController();
    const grown = new Promise<void>((resolve) => (this.#wake = resolve));
    const timer = sleep(millis, AbortSignal.any([signal, done.signal]));
    try {
      await Promise.race([grown, timer]);
    } finally {
      done.abort();
      this.#wake = undefined;
      await timer.catch(() => undefined);
    }
  }

  /** Throws the error with which dockerd ended the stream, unless `ended` has aborted it. */
  throwFailure(ended: AbortSignal): void {
    if (this.#failure !== undefined && !ended.aborted) throw this.#failure;
  }
}

function rethrowUnlessPassed(deadline: AbortSignal, signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (signal.aborted || !deadline.aborted) throw error;
  };
}

/** Follows the restarts and the removal of one container. */
import { EventAction, EventResource } from "../../../../gen/nap/v1/engine_service_pb.js";
import { undefinedIf } from "../../../contract/errors.js";
import { timestampNanos, timestampOf } from "../../../lib/time.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer } from "../containers/reads.js";
import type { EventFeed } from "../events/feed.js";
import type { ContainerJson } from "../../docker-http/json.js";

/** A run of a container. */
export interface ContainerRun {
  /** When it was started, in nanoseconds since 1970. */
  readonly startNanos: bigint;
  /** The end of the previous run; entries after this time belong to this run. */
  readonly boundaryNanos: bigint;
}

/** Follows the runs of one container from the moment at which it was made. */
export class ContainerRuns {
  readonly #docker: DockerConnection;
  readonly #id: string;
  readonly #stop = new AbortController();
  readonly #waiting = new Set<() => void>();
  #fresh: ContainerRun[] = [];
  #pumping: Promise<void> | undefined;
  #failure: unknown;
  #isGone = false;

  private constructor(docker: DockerConnection, id: string) {
    this.#docker = docker;
    this.#id = id;
  }

  /** Begins to follow. Runs that began after `knownNanos` are reported. The caller must close it. */
  static async follow(
    docker: DockerConnection,
    feed: EventFeed,
    id: string,
    knownNanos: bigint,
    signal: AbortSignal,
  ): Promise<ContainerRuns> {
    const runs = new ContainerRuns(docker, id);
    await runs.#begin(feed, knownNanos, signal);
    return runs;
  }

  /** Whether the container has been removed. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** The runs that have begun since this was last asked. */
  take(): ContainerRun[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }

  /** Resolves when a run has begun that has not been taken, or the container is gone. */
  async change(signal: AbortSignal): Promise<void> {
    while (this.#fresh.length === 0 && !this.#isGone) {
      if (this.#failure !== undefined) throw this.#failure;
      signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal.addEventListener("abort", wake, { once: true });
      });
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#pumping;
  }

  async #begin(feed: EventFeed, knownNanos: bigint, signal: AbortSignal): Promise<void> {
    const actions = [EventAction.START, EventAction.EXIT, EventAction.REMOVE];
    const { EXIT, REMOVE } = EventAction;
    const combined = AbortSignal.any([signal, this.#stop.signal]);
    const filter = {
      $typeName: "nap.v1.EventFilter" as const,
      resources: [EventResource.CONTAINER],
      actions,
      containers: [this.#id],
      images: [],
      volumes: [],
      networks: [],
      labels: [],
    };
    const events = await feed.subscribe(filter, combined);
    const json = await this.#inspect();
    let boundary = json === undefined ? 0n : nanosOfText(json.State.FinishedAt);
    let known = knownNanos;
    if (json === undefined) this.#isGone = true;
    else known = this.#note(nanosOfText(json.State.StartedAt), boundary, known);
    this.#pumping = (async () => {
      for await (const batch of events) {
        for (const { action, time } of batch) {
          const nanos = time === undefined ? 0n : timestampNanos(time);
          if (action === EXIT) boundary = nanos;
          else if (action === REMOVE) this.#isGone = true;
          // The start event of the run found by the first inspection has a slightly later time.
          else if (boundary >= known) known = this.#note(nanos, boundary, known);
        }
        this.#wake();
      }
    })().catch((error: unknown) => {
      this.#failure = error;
      this.#wake();
    });
  }

  #note(startNanos: bigint, boundaryNanos: bigint, knownNanos: bigint): bigint {
    if (startNanos <= knownNanos) return knownNanos;
    this.#fresh.push({ startNanos, boundaryNanos });
    return startNanos;
  }

  #inspect(): Promise<ContainerJson | undefined> {
    return undefinedIf("CONTAINER_NOT_FOUND", inspectContainer(this.#docker, this.#id));
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}

/** A time as dockerd writes it; 0 where it is none. */
export function nanosOfText(text: string): bigint {
  const time = timestampOf(text);
  return time === undefined ? 0n : timestampNanos(time);
}

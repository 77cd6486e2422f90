/**
 * The state that calls of RunContainer with the same request_id share, so that the container runs once.
 */
import { setMaxListeners } from "node:events";
import type { ContainerCreated } from "../../../gen/nap/v1/container_service_pb.js";
import { NapError } from "../../contract/errors.js";
import type { Run } from "./recording.js";
import { Recording } from "./recording.js";
import { orAborted } from "../../lib/sleep.js";

/** How long the recording of a run is kept after its end, and the maximum number of recordings. */
const rememberedMillis = 10 * 60 * 1000;
const rememberedCount = 10_000;
/** The maximum number of bytes recorded of one run, and of all runs together. */
const runBytes = 1024 * 1024;
const allBytes = 32 * 1024 * 1024;

/** One run, and the calls that share it. */
export class SharedRun {
  /** The number of calls in progress. */
  callers = 0;
  created: ContainerCreated | undefined;
  /** True if the container has been started, by one of these calls or earlier. */
  hasStarted = false;
  /** The error of a failed start; the container has been removed. */
  failure: unknown;
  /** The recording of the run, for a container with auto_remove. */
  recording: Recording | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** The key is undefined for a call without a request_id, which shares nothing. */
  constructor(readonly key: string | undefined) {}

  /** Runs `work` under the lock of this run. The signal ends the wait for the lock, not the work. */
  async inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    let pass = (): void => undefined;
    const mine = new Promise<void>((resolve) => (pass = resolve));
    this.#turn = before.then(() => mine);
    try {
      await orAborted(before, signal);
      if (this.failure !== undefined) throw this.failure;
      return await work();
    } finally {
      pass();
    }
  }
}

/** The shared runs of one engine. */
export class SharedRuns {
  readonly #runs = new Map<string, SharedRun>();
  /** Recorded runs in the order of their ends, with the time until which each is kept. */
  readonly #ended = new Map<SharedRun, number>();
  readonly #recorded = new Set<Recording>();
  readonly #closed = new AbortController();
  readonly #now: () => number;
  #bytes = 0;

  /** `now` returns the time in milliseconds since 1970. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
    // Every recording adds a listener to it.
    setMaxListeners(0, this.#closed.signal);
  }

  /** Aborted when the engine is closed. */
  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  /** Joins the run of the calls with this key (see `requestKey`) until {@link SharedRuns.leave}. */
  join(key: string | undefined): SharedRun {
    this.#forgetOld();
    const run = (key === undefined ? undefined : this.#runs.get(key)) ?? new SharedRun(key);
    if (key !== undefined) this.#runs.set(key, run);
    run.callers++;
    return run;
  }

  /** Leaves a run; returns true for the last call. */
  leave(run: SharedRun): boolean {
    run.callers--;
    if (run.callers === 0 && run.recording === undefined) this.forget(run);
    return run.callers === 0;
  }

  /** Removes a run, so that later calls begin another one. */
  forget(run: SharedRun): void {
    if (run.key !== undefined && this.#runs.get(run.key) === run) this.#runs.delete(run.key);
  }

  /** Records a run for later calls. */
  record(run: SharedRun, read: Run): void {
    const recording = new Recording(read, (bytes) => {
      this.#bytes += bytes;
      if (recording.bytes > runBytes) this.#drop(recording);
      for (const oldest of this.#recorded) {
        if (this.#bytes <= allBytes) break;
        this.#drop(oldest);
      }
    });
    run.recording = recording;
    this.#recorded.add(recording);
    void this.#remember(run, recording);
  }

  /** Ends all recordings. */
  close(): void {
    this.#closed.abort(new NapError("SERVER_SHUTTING_DOWN", "the engine was closed"));
  }

  async #remember(run: SharedRun, { done }: Recording): Promise<void> {
    await done;
    this.#ended.set(run, this.#now() + rememberedMillis);
    this.#forgetOld();
  }

  #drop(recording: Recording): void {
    this.#recorded.delete(recording);
    recording.drop();
  }

  #forgetOld(): void {
    for (const [run, until] of this.#ended) {
      if (this.#ended.size <= rememberedCount && until > this.#now()) return;
      this.#ended.delete(run);
      if (run.recording !== undefined) this.#drop(run.recording);
      this.forget(run);
    }
  }
}

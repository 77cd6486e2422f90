/** What calls of RunContainer with one request_id share, so that the container runs once for all. */
import { setMaxListeners } from "node:events";
import type { ContainerCreated } from "../../../gen/nap/v1/container_service_pb.js";
import { NapError } from "../../contract/errors.js";
import type { Run } from "./recording.js";
import { Recording } from "./recording.js";
import { orAborted } from "../../lib/sleep.js";

/** How long a run of a container that removed itself is remembered, and how many of them. */
const rememberedMillis = 10 * 60 * 1000;
const rememberedCount = 10_000;
/** How much output is kept of one run, and of all together. */
const runBytes = 1024 * 1024;
const allBytes = 32 * 1024 * 1024;

/** One run, and the calls that share it. */
export class SharedRun {
  /** How many calls are under way. */
  callers = 0;
  created: ContainerCreated | undefined;
  /** Whether the container has been started, by one of these calls or before them. */
  hasStarted = false;
  /** Why the container could not be started; it has been removed. */
  failure: unknown;
  /** What is kept of the run of a container that removes itself. */
  recording: Recording | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** Undefined: a call without a request_id, which shares nothing. */
  constructor(readonly key: string | undefined) {}

  /** Runs `work` when no other call of this run does. The signal ends the waiting, not the work. */
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
  /** Recorded runs that have ended, in this order, and how long each is remembered. */
  readonly #ended = new Map<SharedRun, number>();
  readonly #recorded = new Set<Recording>();
  readonly #closed = new AbortController();
  readonly #now: () => number;
  #bytes = 0;

  /** `now` gives the time in milliseconds since 1970. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
    // Every recording waits for it.
    setMaxListeners(0, this.#closed.signal);
  }

  /** Aborted when the engine is closed. */
  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  /** Takes part in the run of the calls with this key, see `requestKey`, until it is left. */
  join(key: string | undefined): SharedRun {
    this.#forgetOld();
    const run = (key === undefined ? undefined : this.#runs.get(key)) ?? new SharedRun(key);
    if (key !== undefined) this.#runs.set(key, run);
    run.callers++;
    return run;
  }

  /** Ends taking part; true for the last one. */
  leave(run: SharedRun): boolean {
    run.callers--;
    if (run.callers === 0 && run.recording === undefined) this.forget(run);
    return run.callers === 0;
  }

  /** Lets calls that come from now on share another run. */
  forget(run: SharedRun): void {
    if (run.key !== undefined && this.#runs.get(run.key) === run) this.#runs.delete(run.key);
  }

  /** Keeps what is read of a run for calls that come while it is remembered. */
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
    this.#closed.abort(new NapError("SERVER_STOPPING", "the engine was closed"));
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

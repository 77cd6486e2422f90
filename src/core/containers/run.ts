/**
 * RunContainer for every engine: creates, starts and reads a container. Calls with the same request_id
 * share one container, which is started once.
 */
import { create } from "@bufbuild/protobuf";
import type {
  ContainerCreated,
  RunContainerRequest,
  RunContainerResponse,
} from "../../../gen/nap/v1/container_service_pb.js";
import {
  RunContainerRequestSchema,
  RunContainerResponseSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { ExitStatus, OutputBatch, OutputStream } from "../../../gen/nap/v1/types_pb.js";
import { DisconnectAction, OutputBatchSchema } from "../../../gen/nap/v1/types_pb.js";
import type { Call } from "../engine.js";
import { NapError } from "../../contract/errors.js";
import { requestKey } from "../../contract/reserved-labels.js";
import type { Recording, Run } from "./recording.js";
import { countBytes } from "./recording.js";
import type { SharedRun, SharedRuns } from "./shared-runs.js";

/** A container that was just created, or that was created before by the same request. */
export interface RunMade<C> {
  readonly created: ContainerCreated;
  readonly autoRemove: boolean;
  readonly container: C;
}

/** A started container. Watching began before the start, so that nothing of its run is missed. */
export interface Begun {
  readonly run: Run;
  /** The same run, read a second time for the recording. */
  readonly recorded?: Run;
}

/** The steps of RunContainer that an engine implements. */
export interface RunSteps<C> {
  /** Creates the container, or finds the one that the same request created. */
  create(): Promise<RunMade<C>>;
  /** Returns the container as it is now, or undefined if it has ever been started. */
  unstarted(container: C): Promise<C | undefined>;
  /** Starts a container. With `keep` its run is read a second time, until that signal aborts. */
  start(container: C, keep: AbortSignal | undefined): Promise<Begun>;
  /** Returns the container with a full id, or undefined if it has been removed. */
  find(id: string): Promise<C | undefined>;
  /** Reads the log of a container from its beginning until the container stops. */
  repeat(container: C): Promise<Run>;
  /** Removes a container that was not started. */
  remove(container: C): Promise<void>;
  /** Kills a container. One that has exited or has been removed is no error. */
  kill(id: string): Promise<void>;
}

/** Handles a call of RunContainer. */
export async function* runContainer<C>(
  runs: SharedRuns,
  request: RunContainerRequest,
  { signal, identity }: Call,
  steps: RunSteps<C>,
): AsyncGenerator<RunContainerResponse> {
  const shared = runs.join(requestKey(RunContainerRequestSchema, request, identity));
  let made: RunMade<C> | undefined;
  let run: Run | undefined;
  let ended = false;
  let failed = false;
  try {
    made = await shared.inTurn(signal, () => createShared(shared, steps));
    const { created } = shared;
    if (created !== undefined) yield runEvent({ case: "created", value: created });
    run = await shared.inTurn(signal, () => startShared(runs, shared, made, steps, signal));
    yield runEvent({ case: "started", value: {} } as RunEvent);
    for await (const value of run.output) yield runEvent({ case: "output", value });
    const value = await run.exit();
    ended = true;
    yield runEvent({ case: "exit", value });
  } catch (error) {
    failed = true;
    throw error;
  } finally {
    const isLast = runs.leave(shared);
    await run?.close();
    // With a request_id the container is kept, so that a retry can start it.
    const isAbandoned = shared.key === undefined && shared.failure === undefined;
    if (made !== undefined && !shared.hasStarted && isAbandoned) await steps.remove(made.container);
    const isCancelled = !ended && (signal.aborted || !failed);
    const kills = request.disconnectAction === DisconnectAction.KILL && isCancelled && isLast;
    const id = shared.created?.containerId;
    if (kills && shared.hasStarted && id !== undefined) await steps.kill(id);
  }
}

/**
 * Returns the container of a shared run, or undefined if its run is recorded; the container may be gone
 * then.
 */
async function createShared<C>(
  shared: SharedRun,
  steps: RunSteps<C>,
): Promise<RunMade<C> | undefined> {
  if (shared.recording !== undefined) return undefined;
  const made = await steps.create();
  const isKnown = shared.created?.containerId === made.created.containerId;
  if (!isKnown) shared.created = made.created;
  return made;
}

/** Starts the container of a shared run unless it has ever been started, and reads the run. */
async function startShared<C>(
  runs: SharedRuns,
  shared: SharedRun,
  made: RunMade<C> | undefined,
  steps: RunSteps<C>,
  signal: AbortSignal,
): Promise<Run> {
  if (shared.recording !== undefined) return replayed(shared, shared.recording, steps, signal);
  if (made === undefined) throw new RangeError("neither a container nor a recording of it");
  const fresh = await steps.unstarted(made.container);
  if (fresh === undefined) {
    shared.hasStarted = true;
    return steps.repeat(made.container);
  }
  try {
    // Only containers with auto_remove lose their log, and only calls with a request_id can be repeated.
    const keep = shared.key !== undefined && made.autoRemove ? runs.signal : undefined;
    const { run, recorded } = await steps.start(fresh, keep);
    shared.hasStarted = true;
    if (recorded !== undefined) runs.record(shared, recorded);
    return run;
  } catch (error) {
    // The next call finds out whether the container was started.
    if (shared.key !== undefined && (signal.aborted || isUnreachable(error))) throw error;
    shared.failure = error;
    try {
      await steps.remove(fresh);
    } finally {
      runs.forget(shared);
    }
    throw error;
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof NapError && error.reason === "ENGINE_UNREACHABLE";
}

/** Returns a recorded run. If its output was too large to be kept, the rest is read from the log. */
function replayed<C>(
  { created }: SharedRun,
  recording: Recording,
  steps: RunSteps<C>,
  signal: AbortSignal,
): Run {
  let rest: Run | undefined;
  async function* output(): AsyncGenerator<OutputBatch> {
    const delivered = new Map<OutputStream, number>();
    for await (const batch of recording.replay(signal)) {
      countBytes(delivered, batch);
      yield batch;
    }
    if (recording.isWhole) return;
    const resource = created?.containerId ?? "";
    const message = "the container of this request has ended and was removed with its output";
    const isGone = new NapError("CONTAINER_NOT_FOUND", message, { resource });
    const container = await steps.find(resource);
    if (container === undefined) throw isGone;
    rest = await steps.repeat(container);
    const before = new Map(delivered);
    for await (const batch of rest.output) {
      const fresh = batchBehind(batch, before);
      countBytes(delivered, fresh);
      if (fresh.chunks.length > 0) yield fresh;
    }
    // dockerd's following of a log may lose the end of it (20.10), which cannot be read again.
    if (!(await recording.isAll(delivered, signal))) throw isGone;
  }
  return {
    output: output(),
    exit: (): Promise<ExitStatus> => rest?.exit() ?? recording.exit(signal),
    close: () => rest?.close(),
  };
}

/**
 * Returns a batch without the bytes of each stream that have been delivered before, and subtracts them
 * from `delivered`.
 */
function batchBehind(batch: OutputBatch, delivered: Map<OutputStream, number>): OutputBatch {
  const chunks = batch.chunks.flatMap((chunk) => {
    const skip = Math.min(delivered.get(chunk.stream) ?? 0, chunk.data.length);
    delivered.set(chunk.stream, (delivered.get(chunk.stream) ?? 0) - skip);
    return skip === chunk.data.length ? [] : [{ ...chunk, data: chunk.data.subarray(skip) }];
  });
  return create(OutputBatchSchema, { chunks });
}

type RunEvent = NonNullable<RunContainerResponse["event"]>;

/** Returns the message for an event of RunContainer. */
export function runEvent(event: RunEvent): RunContainerResponse {
  return create(RunContainerResponseSchema, { event });
}

/** Containers on runC: the calls that stream. */
import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  Container,
  ContainerService,
  LogEntry,
  RunContainerRequest,
  StreamContainerLogsRequest,
  StreamContainerLogsResponse,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerCreatedSchema,
  ContainerState,
  LogEndReason,
  RunContainerRequestSchema,
  StreamContainerLogsResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { ExitStatus, OutputBatch } from "../../../../gen/nap/v1/types_pb.js";
import { ExitStatusSchema, OutputBatchSchema } from "../../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../../core/engine.js";
import { NapError } from "../../../contract/errors.js";
import type { Run } from "../../../core/containers/recording.js";
import type { RunSteps } from "../../../core/containers/run.js";
import { runContainer } from "../../../core/containers/run.js";
import type { SharedRuns } from "../../../core/containers/shared-runs.js";
import { compareTimes } from "../../../core/lists/filters.js";
import { createContainer, currentContainer, removeContainer } from "./containers.js";
import type { RuncContext } from "../context.js";
import { killContainer, startContainer, waitForExit } from "./lifecycle.js";
import { logEntries, openLog } from "../logs/entries.js";
import { awaitsStart } from "../runtime/shim.js";
import type { Stored } from "../runtime/store.js";

/** The calls on containers that stream. */
export function containerStreams(host: RuncContext, shared: SharedRuns) {
  return {
    runContainer: (request, call) =>
      runContainer(shared, request, call, runcSteps(host, request, call)),
    streamContainerLogs: (request, call) => streamLogs(host, request, call),
  } satisfies Methods<typeof ContainerService>;
}

/**
 * Returns the exit status of a container's last run. As on Docker it is 0 for a container that never ran.
 */
function exitOf({ exit }: Container): ExitStatus {
  return exit ?? create(ExitStatusSchema, { code: 0 });
}

type LogEvent = NonNullable<StreamContainerLogsResponse["event"]>;

async function* streamLogs(
  host: RuncContext,
  request: StreamContainerLogsRequest,
  { signal }: Call,
): AsyncGenerator<StreamContainerLogsResponse> {
  const stored = host.store.find(request.container);
  const { id: containerId } = stored.container;
  const origin = { engine: host.name, containerId };
  const { log } = host.store.paths(containerId);
  const wanted = selection(request);
  const { tailLines, until } = request;
  const deadline = request.follow && until !== undefined ? timestampMs(until) : Infinity;
  const live = async (): Promise<boolean> =>
    request.follow && Date.now() <= deadline && (await runs(host, stored));
  let skip = tailLines === undefined ? 0 : -tailLines;
  if (tailLines !== undefined) {
    const past = logEntries(log, async () => false, signal);
    for await (const entries of past) skip += entries.filter(wanted).length;
  }
  yield logEvent({ case: "ready", value: origin } as LogEvent);
  for await (const read of logEntries(log, live, signal)) {
    const selected = read.filter(wanted);
    const entries = selected.slice(Math.max(skip, 0));
    skip -= selected.length;
    if (entries.length > 0)
      yield logEvent({ case: "batch", value: { entries, ...origin } } as LogEvent);
  }
  const reason =
    !request.follow || Date.now() > deadline
      ? LogEndReason.COMPLETE
      : host.store.isGone(stored.container.id)
        ? LogEndReason.REMOVED
        : LogEndReason.STOPPED;
  yield logEvent({ case: "end", value: { reason } } as LogEvent);
}

function logEvent(event: LogEvent): StreamContainerLogsResponse {
  return create(StreamContainerLogsResponseSchema, { event });
}

function selection({ streams, since, until }: StreamContainerLogsRequest) {
  return ({ stream, time }: LogEntry): boolean =>
    (streams.length === 0 || streams.includes(stream)) &&
    (since === undefined || time === undefined || compareTimes(time, since) >= 0) &&
    (until === undefined || time === undefined || compareTimes(time, until) <= 0);
}

async function runs(host: RuncContext, stored: Stored): Promise<boolean> {
  return (await currentContainer(host, stored)).state === ContainerState.RUNNING;
}

function runcSteps(host: RuncContext, request: RunContainerRequest, call: Call): RunSteps<Stored> {
  const { signal } = call;
  const find = (id: string): Stored | undefined =>
    host.store.all.find(({ container }) => container.id === id);
  return {
    create: async () => {
      const { stored } = await createContainer(host, request, RunContainerRequestSchema, call);
      const { id, name, spec } = stored.container;
      const created = create(ContainerCreatedSchema, { containerId: id, name });
      return { created, autoRemove: spec?.autoRemove === true, container: stored };
    },
    unstarted: async (stored) => {
      const { id } = stored.container;
      // Not while it is being started.
      return host.withLock(`container ${id}`, async () => {
        const { state } = await currentContainer(host, stored);
        const isNew = state === ContainerState.CREATED;
        const isMade = state === ContainerState.RUNNING && (await awaitsStart(host.store, id));
        return isNew || isMade ? stored : undefined;
      });
    },
    start: async (stored, keep) => {
      let run: Run | undefined;
      let recorded: Run | undefined;
      // The log is opened before an exit can remove it, and what it has is read to the end.
      await startContainer(host, stored, async () => {
        run = await loggedRun(host, stored, signal);
        recorded = keep && (await loggedRun(host, stored, keep));
      });
      run ??= await loggedRun(host, stored, signal);
      return { run, ...(recorded && { recorded }) };
    },
    find: async (id) => find(id),
    repeat: (stored) => loggedRun(host, stored, signal),
    remove: (stored) => removeContainer(host, stored),
    kill: async (id) => {
      const stored = find(id);
      if (stored !== undefined) await killContainer(host, stored);
    },
  };
}

/** A run of a container by its log, which conmon has made when the container has been started. */
async function loggedRun(host: RuncContext, stored: Stored, signal: AbortSignal): Promise<Run> {
  const { id, name } = stored.container;
  const file = await openLog(host.store.paths(id).log);
  if (file === undefined) {
    const message = `container ${name} was removed meanwhile`;
    throw new NapError("CONTAINER_NOT_FOUND", message, { resource: id });
  }
  async function* output(): AsyncGenerator<OutputBatch> {
    for await (const entries of logEntries(file, () => runs(host, stored), signal)) {
      const chunks = entries.map(({ stream, data }) => ({ stream, data }));
      yield create(OutputBatchSchema, { chunks });
    }
  }
  return {
    output: output(),
    exit: async () => exitOf(await waitForExit(host, stored, signal)),
    // Reading closes it, too; one that was never read is closed here alone.
    close: () => file.close(),
  };
}

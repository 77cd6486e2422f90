/** Containers on runC: the calls that stream. */
import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  Container,
  ContainerService,
  LogEntry,
  RunContainerRequest,
  RunContainerResponse,
  StreamContainerLogsRequest,
  StreamContainerLogsResponse,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerCreatedSchema,
  ContainerState,
  LogEndReason,
  RunContainerRequestSchema,
  RunContainerResponseSchema,
  StreamContainerLogsResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { ExitStatus } from "../../../../gen/nap/v1/types_pb.js";
import { DisconnectAction, ExitStatusSchema } from "../../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../../core/engine.js";
import { compareTimes } from "../../../core/lists/filters.js";
import { createContainer, currentContainer, removeContainer } from "./containers.js";
import type { RuncHost } from "../context.js";
import { killContainer, startContainer, waitForExit } from "./lifecycle.js";
import { logEntries, openLog } from "../logs/entries.js";
import type { Stored } from "../runtime/store.js";

/** The calls on containers that stream. */
export function containerStreams(host: RuncHost) {
  return {
    runContainer: (request, call) => runContainer(host, request, call),
    streamContainerLogs: (request, call) => streamLogs(host, request, call),
  } satisfies Methods<typeof ContainerService>;
}

/** How a container's last run ended; one that never ran has, as on Docker, the code 0. */
function exitOf({ exit }: Container): ExitStatus {
  return exit ?? create(ExitStatusSchema, { code: 0 });
}

type LogEvent = NonNullable<StreamContainerLogsResponse["event"]>;

async function* streamLogs(
  host: RuncHost,
  request: StreamContainerLogsRequest,
  { signal }: Call,
): AsyncGenerator<StreamContainerLogsResponse> {
  const stored = host.store.find(request.container);
  const { log } = host.store.paths(stored.container.id);
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
  for await (const read of logEntries(log, live, signal)) {
    const selected = read.filter(wanted);
    const entries = selected.slice(Math.max(skip, 0));
    skip -= selected.length;
    if (entries.length > 0) yield logEvent({ case: "batch", value: { entries } } as LogEvent);
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

async function runs(host: RuncHost, stored: Stored): Promise<boolean> {
  return (await currentContainer(host, stored)).state === ContainerState.RUNNING;
}

type RunEvent = NonNullable<RunContainerResponse["event"]>;

async function* runContainer(
  host: RuncHost,
  request: RunContainerRequest,
  call: Call,
): AsyncGenerator<RunContainerResponse> {
  const { signal } = call;
  const { stored, existed } = await createContainer(host, request, RunContainerRequestSchema, call);
  const { id, name } = stored.container;
  let started = false;
  let ended = false;
  try {
    const created = create(ContainerCreatedSchema, { containerId: id, name });
    yield runEvent({ case: "created", value: created });
    const { log } = host.store.paths(id);
    const before = await currentContainer(host, stored);
    let output = logEntries(log, () => runs(host, stored), signal);
    if (before.state === ContainerState.CREATED) {
      // The log is opened before an exit can remove it, and what it has is read to the end.
      await startContainer(host, stored, async () => {
        output = logEntries(await openLog(log), () => runs(host, stored), signal);
      });
    }
    started = true;
    yield runEvent({ case: "started", value: {} } as RunEvent);
    for await (const entries of output) {
      const chunks = entries.map(({ stream, data }) => ({ stream, data }));
      yield runEvent({ case: "output", value: { chunks } } as RunEvent);
    }
    const value = exitOf(await waitForExit(host, stored, signal));
    ended = true;
    yield runEvent({ case: "exit", value });
  } finally {
    const keep = existed || (signal.aborted && request.requestId !== "");
    if (!started && !keep) await removeContainer(host, stored);
    if (started && !ended && request.disconnectAction === DisconnectAction.KILL) {
      await killContainer(host, stored);
    }
  }
}

function runEvent(event: RunEvent): RunContainerResponse {
  return create(RunContainerResponseSchema, { event });
}

/** Measurements of containers on Docker. */
import { create } from "@bufbuild/protobuf";
import type {
  ContainerService,
  ContainerStats,
  StreamContainerStatsRequest,
  StreamContainerStatsResponse,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerStatsBatchSchema,
  StreamContainerStatsResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { StreamReadySchema } from "../../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../../core/engine.js";
import { fieldError, undefinedIf } from "../../../contract/errors.js";
import { mapInParallel } from "../../../lib/parallel.js";
import { ticks } from "../../../lib/ticks.js";
import { durationNanos } from "../../../lib/time.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer, named, selectContainers } from "./reads.js";
import { summaryName } from "../../docker-http/convert/container/container.js";
import type { StatsJson } from "../../docker-http/convert/stats.js";
import { setCpuUsageCores, statsFromDocker } from "../../docker-http/convert/stats.js";
import { withDockerErrors } from "../errors.js";
import type { ContainerSummaryJson, InfoJson } from "../../docker-http/json.js";

/**
 * dockerd's collector measures once a second, and a request waits for its next round (20.10): asked
 * more often it would give the same measurement again.
 */
const minIntervalMillis = 1000;

/** The maximum number of requests that wait for one round of the collector together. */
const measuredAtOnce = 64;

/** The call that measures containers. */
export function statsMethods(docker: DockerConnection) {
  return {
    streamContainerStats: (request, call) => streamStats(docker, request, call),
  } satisfies Methods<typeof ContainerService>;
}

/** A measurement, and when the run of the container that it is of was started. */
interface Sample {
  readonly stats: ContainerStats;
  readonly run: string;
}

async function* streamStats(
  docker: DockerConnection,
  { filter, interval, oneShot }: StreamContainerStatsRequest,
  { signal }: Call,
): AsyncGenerator<StreamContainerStatsResponse> {
  const intervalMillis =
    interval === undefined ? minIntervalMillis : durationNanos(interval)! / 1e6;
  if (intervalMillis < minIntervalMillis) {
    const description = "Docker measures once a second";
    throw fieldError([{ field: "interval", description, reason: "FIELD_UNSUPPORTED" }]);
  }
  const { body: info } = await docker.api.json<InfoJson>({ path: "/info" }, signal);
  let before = new Map<string, Sample>();
  const measure = async (): Promise<ContainerStats[]> => {
    const list = await selectContainers(docker, filter, false, signal);
    // A filter by state or exit code selects also what does not run.
    const running = list.filter(({ State }) => State === "running" || State === "paused");
    const samples = await mapInParallel(
      running,
      (json) => undefinedIf("CONTAINER_NOT_FOUND", measured(docker, json, info.MemTotal, signal)),
      measuredAtOnce,
    );
    const now = samples.filter((sample) => sample !== undefined);
    for (const { stats, run } of now) {
      const last = before.get(stats.containerId);
      if (last?.run === run) setCpuUsageCores(stats, last.stats);
    }
    before = new Map(now.map((sample) => [sample.stats.containerId, sample]));
    return now.map(({ stats }) => stats);
  };
  yield statsEvent({ case: "ready", value: create(StreamReadySchema, { engine: docker.name }) });
  if (oneShot) {
    const stats = await measure();
    yield statsEvent({ case: "batch", value: create(ContainerStatsBatchSchema, { stats }) });
    return;
  }
  for await (const { value: stats, skippedTicks } of ticks(intervalMillis, measure, signal)) {
    const value = create(ContainerStatsBatchSchema, { stats, skippedTicks });
    yield statsEvent({ case: "batch", value });
  }
}

function statsEvent(event: StreamContainerStatsResponse["event"]): StreamContainerStatsResponse {
  return create(StreamContainerStatsResponseSchema, { event });
}

async function measured(
  docker: DockerConnection,
  json: ContainerSummaryJson,
  hostMemoryBytes: number,
  signal: AbortSignal,
): Promise<Sample | undefined> {
  const { Id: id } = json;
  const path = `/containers/${id}/stats`;
  const query = { stream: false, "one-shot": true };
  const { body } = await withDockerErrors(
    docker.api.json<StatsJson>({ path, query }, signal),
    id,
    named,
  );
  const container = { containerId: id, name: summaryName(json) };
  const stats = statsFromDocker(container, body, hostMemoryBytes);
  if (stats === undefined) return undefined;
  const { State } = await inspectContainer(docker, id, signal);
  return { stats, run: State.StartedAt };
}

/** Converts containers from dockerd's JSON. */
import { create } from "@bufbuild/protobuf";
import type { Container } from "../../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerSchema,
  ContainerState,
  HealthStatus,
} from "../../../../../gen/nap/v1/container_service_pb.js";
import type { ExitStatus } from "../../../../../gen/nap/v1/types_pb.js";
import { ExitStatusSchema } from "../../../../../gen/nap/v1/types_pb.js";
import { ownerOf, requestIdOf, stripInternalLabels } from "../../../../contract/reserved-labels.js";
import { restoreBindRoots } from "../../../../core/mounts/rooted-mounts.js";
import type { ContainerJson, ContainerSummaryJson, StateJson } from "../../json.js";
import { timestampOf, timestampOfNanos } from "../../../../lib/time.js";
import { healthResultFromDocker } from "./health-check.js";
import { specFromDocker } from "./container-spec.js";
import { mountPoints } from "./mounts-read.js";
import { endpoints } from "./endpoints.js";
import { publishedPorts, publishedPortsOfSummary } from "./ports.js";

/** Container states and dockerd's names for them. */
export const stateWords: readonly [ContainerState, string][] = [
  [ContainerState.CREATED, "created"],
  [ContainerState.RUNNING, "running"],
  [ContainerState.PAUSED, "paused"],
  [ContainerState.RESTARTING, "restarting"],
  [ContainerState.REMOVING, "removing"],
  [ContainerState.EXITED, "exited"],
  [ContainerState.DEAD, "dead"],
];

/** Health states and dockerd's names for them. */
export const healthWords: readonly [HealthStatus, string][] = [
  [HealthStatus.STARTING, "starting"],
  [HealthStatus.HEALTHY, "healthy"],
  [HealthStatus.UNHEALTHY, "unhealthy"],
];

/** A container from inspect. */
export function containerFromDocker(engine: string, json: ContainerJson): Container {
  const { State: state } = json;
  const spec = specFromDocker(json);
  restoreBindRoots(spec.mounts, json.Config.Labels);
  return create(ContainerSchema, {
    engine,
    id: json.Id,
    name: json.Name.replace(/^\//, ""),
    spec,
    imageId: json.Image,
    state: stateOf(state.Status),
    engineState: state.Status,
    health: healthOf(state.Health?.Status),
    healthCheckResults: (state.Health?.Log ?? []).map(healthResultFromDocker),
    healthFailingStreak: state.Health?.FailingStreak ?? 0,
    createTime: timestampOf(json.Created),
    startTime: timestampOf(state.StartedAt),
    exit: state.Running ? undefined : exitOf(state),
    ...(state.Pid > 0 && { pid: BigInt(state.Pid) }),
    restartCount: json.RestartCount,
    engineError: state.Error,
    ports: publishedPorts(json.NetworkSettings.Ports),
    endpoints: endpoints(json.NetworkSettings.Networks),
    mounts: mountPoints(json.Mounts),
    requestId: requestIdOf(json.Config.Labels),
    owner: ownerOf(json.Config.Labels),
    ...(json.SizeRw !== undefined && { writableSizeBytes: BigInt(json.SizeRw) }),
    ...(json.SizeRootFs !== undefined && { rootFilesystemSizeBytes: BigInt(json.SizeRootFs) }),
  });
}

/** A container from a list: what LIST_VIEW_BASIC gives. */
export function containerFromSummary(engine: string, json: ContainerSummaryJson): Container {
  const health = /\((?:health: )?(starting|healthy|unhealthy)\)/.exec(json.Status)?.[1];
  return create(ContainerSchema, {
    engine,
    id: json.Id,
    name: summaryName(json),
    spec: {
      source: { case: "image", value: json.Image },
      labels: stripInternalLabels(json.Labels ?? {}),
    },
    imageId: json.ImageID,
    state: stateOf(json.State),
    engineState: json.State,
    health: healthOf(health),
    createTime: timestampOfNanos(BigInt(json.Created) * 1_000_000_000n),
    ports: publishedPortsOfSummary(json.Ports),
    endpoints: endpoints(json.NetworkSettings?.Networks),
    mounts: mountPoints(json.Mounts),
    requestId: requestIdOf(json.Labels),
    owner: ownerOf(json.Labels),
  });
}

/** A container's own name: a list gives names by links (`/other/alias`) beside it. */
export function summaryName({ Names }: ContainerSummaryJson): string {
  return (Names.find((name) => name.lastIndexOf("/") === 0) ?? Names[0] ?? "").replace(/^\//, "");
}

function stateOf(word: string): ContainerState {
  return stateWords.find(([, name]) => name === word)?.[0] ?? ContainerState.UNSPECIFIED;
}

/** The health status that dockerd calls so; undefined where there is no health check. */
export function healthOf(word: string | undefined): HealthStatus | undefined {
  return healthWords.find(([, name]) => name === word)?.[0];
}

/** Returns the exit status of the last run; undefined if there was none. */
export function exitOf(state: StateJson): ExitStatus | undefined {
  const finishTime = timestampOf(state.FinishedAt);
  if (finishTime === undefined) return undefined;
  return create(ExitStatusSchema, { code: state.ExitCode, oomKilled: state.OOMKilled, finishTime });
}

/** Containers on Docker: the calls that stream. */
import type { Readable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import type {
  ContainerService,
  RunContainerRequest,
  RunContainerResponse,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerCreatedSchema,
  RunContainerRequestSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { ExitStatus, OutputBatch } from "../../../../gen/nap/v1/types_pb.js";
import { ExitStatusSchema, OutputBatchSchema } from "../../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../../core/engine.js";
import { undefinedIf } from "../../../contract/errors.js";
import type { Run } from "../../../core/containers/recording.js";
import type { RunSteps } from "../../../core/containers/run.js";
import { runContainer, runEvent } from "../../../core/containers/run.js";
import type { SharedRuns } from "../../../core/containers/shared-runs.js";
import { parseAnswer } from "../../docker-http/response.js";
import { exitOf } from "../../docker-http/convert/container/container.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer } from "./reads.js";
import { createContainer, pullFirst } from "./containers.js";
import { hasStatus, withDockerErrors } from "../errors.js";
import { outputBatches } from "../../docker-http/frames.js";
import type { ContainerJson } from "../../docker-http/json.js";
import { startInspected } from "./lifecycle.js";
import { logUntilStopped } from "../logs/follow.js";

/** The calls on containers that stream. */
export function containerStreams(docker: DockerConnection, runs: SharedRuns) {
  return {
    runContainer: (request, call) => runOnDocker(docker, runs, request, call),
  } satisfies Methods<typeof ContainerService>;
}

/** Returns a container, or undefined if it has been removed. */
export async function inspectIfThere(
  docker: DockerConnection,
  id: string,
): Promise<ContainerJson | undefined> {
  return undefinedIf("CONTAINER_NOT_FOUND", inspectContainer(docker, id));
}

/** An exit that is being waited for. */
export interface ArmedWait {
  /** Resolves with the exit status once the container has exited. */
  status(): Promise<ExitStatus>;
  cancel(): void;
}

/**
 * Begins to wait. dockerd sends the headers of the answer when it waits, so what happens after this
 * resolves is seen.
 */
export async function armWait(
  docker: DockerConnection,
  id: string,
  condition: string,
  signal: AbortSignal,
): Promise<ArmedWait> {
  const path = `/containers/${id}/wait`;
  const call = docker.api.stream(
    { method: "POST", path, query: { condition }, readOnly: true },
    signal,
  );
  const source = await withDockerErrors(call, id, { reasons: { 404: "CONTAINER_NOT_FOUND" } });
  // The stream may fail before it is read.
  source.on("error", () => undefined);
  return {
    status: async () => {
      const text = await docker.api.text(source, signal);
      const { StatusCode: code } = parseAnswer<{ StatusCode: number }>(text);
      const json = await inspectIfThere(docker, id);
      const known = json && !json.State.Running ? exitOf(json.State) : undefined;
      return known?.code === code ? known : create(ExitStatusSchema, { code });
    },
    cancel: () => void source.destroy(),
  };
}

async function* runOnDocker(
  docker: DockerConnection,
  runs: SharedRuns,
  request: RunContainerRequest,
  call: Call,
): AsyncGenerator<RunContainerResponse> {
  for await (const { event } of pullFirst(docker, request, RunContainerRequestSchema, call)) {
    if (event.case === "progress") yield runEvent({ case: "pullProgress", value: event.value });
  }
  yield* runContainer(runs, request, call, dockerSteps(docker, request, call));
}

function dockerSteps(
  docker: DockerConnection,
  request: RunContainerRequest,
  call: Call,
): RunSteps<ContainerJson> {
  const { signal } = call;
  return {
    create: async () => {
      const { json, warnings } = await createContainer(
        docker,
        request,
        RunContainerRequestSchema,
        call,
      );
      const named = { containerId: json.Id, name: json.Name.replace(/^\//, ""), warnings };
      const created = create(ContainerCreatedSchema, named);
      return { created, autoRemove: json.HostConfig.AutoRemove === true, container: json };
    },
    unstarted: async ({ Id }) => {
      const json = await inspectContainer(docker, Id, signal);
      // dockerd says this where the time of the start is unset, so also behind a failed start.
      return json.State.Status === "created" ? json : undefined;
    },
    start: async (json, keep) => {
      const run = await armedRun(docker, json, attachOutput, signal);
      let recorded: Run | undefined;
      try {
        // The recording has a separate attachment, so that a slow reader of one does not delay the other.
        recorded = keep && (await armedRun(docker, json, attachOutput, keep));
        await startInspected(docker, json, json.Id, "spec");
        return { run, ...(recorded && { recorded }) };
      } catch (error) {
        await run.close();
        await recorded?.close();
        throw error;
      }
    },
    find: (id) => inspectIfThere(docker, id),
    repeat: (json) => armedRun(docker, json, undefined, signal),
    remove: ({ Id }) => removeUnstarted(docker, Id),
    kill: (id) => kill(docker, id),
  };
}

/**
 * The run of a container: the next one, by an attachment, or what is in its log and comes until it does
 * not run. dockerd would hold an attachment to a container that has exited open for ever.
 */
async function armedRun(
  docker: DockerConnection,
  json: ContainerJson,
  attach: typeof attachOutput | undefined,
  signal: AbortSignal,
): Promise<Run> {
  const { Id, Config, HostConfig } = json;
  const source = await attach?.(docker, Id, signal);
  try {
    const condition = HostConfig.AutoRemove ? "removed" : source ? "next-exit" : "not-running";
    const exit = await armWait(docker, Id, condition, signal);
    return {
      output:
        source === undefined
          ? loggedBatches(docker, json, signal)
          : outputBatches(docker.api.read(source, signal), Config.Tty === true),
      exit: () => exit.status(),
      close: () => {
        exit.cancel();
        source?.destroy();
      },
    };
  } catch (error) {
    source?.destroy();
    throw error;
  }
}

/** Yields the output of a container from its log until it stops. */
async function* loggedBatches(
  docker: DockerConnection,
  json: ContainerJson,
  signal: AbortSignal,
): AsyncGenerator<OutputBatch> {
  for await (const entries of logUntilStopped(docker, json, signal)) {
    const chunks = entries.map(({ stream, data }) => ({ stream, data }));
    yield create(OutputBatchSchema, { chunks });
  }
}

async function attachOutput(
  docker: DockerConnection,
  id: string,
  signal: AbortSignal,
): Promise<Readable> {
  const query = { stream: true, stdout: true, stderr: true };
  return docker.api.hijack(
    { method: "POST", path: `/containers/${id}/attach`, query, readOnly: true },
    signal,
  );
}

/** Kills a container, unless it has exited by itself. */
export async function kill(docker: DockerConnection, id: string): Promise<void> {
  try {
    await docker.api.json({ method: "POST", path: `/containers/${id}/kill` });
  } catch (error) {
    // It has ended by itself.
    if (!hasStatus(error, 404) && !hasStatus(error, 409)) throw error;
  }
}

async function removeUnstarted(docker: DockerConnection, id: string): Promise<void> {
  const query = { v: true, force: true };
  try {
    await docker.api.json({ method: "DELETE", path: `/containers/${id}`, query });
  } catch (error) {
    // With auto_remove dockerd removes it itself.
    if (!hasStatus(error, 404) && !hasStatus(error, 409)) throw error;
  }
}

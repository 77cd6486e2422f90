/** Containers on Docker: the calls that stream. */
import type { Readable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import type {
  ContainerService,
  RunContainerRequest,
  RunContainerResponse,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  RunContainerRequestSchema,
  RunContainerResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { ExitStatus } from "../../../../gen/nap/v1/types_pb.js";
import { DisconnectAction, ExitStatusSchema } from "../../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../../core/engine.js";
import { unless } from "../../../contract/errors.js";
import { parseAnswer } from "../../docker-http/response.js";
import { exitOf } from "../../docker-http/convert/container/container.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer } from "./reads.js";
import { createContainer, pullFirst } from "./containers.js";
import { hasStatus, meaning } from "../errors.js";
import { outputBatches } from "../../docker-http/frames.js";
import type { ContainerJson } from "../../docker-http/json.js";
import { startContainer } from "./lifecycle.js";

/** The calls on containers that stream. */
export function containerStreams(docker: DockerConnection) {
  return {
    runContainer: (request, call) => runContainer(docker, request, call),
  } satisfies Methods<typeof ContainerService>;
}

/** A container, or undefined where it is gone. */
export async function inspectIfThere(
  docker: DockerConnection,
  id: string,
): Promise<ContainerJson | undefined> {
  return unless("CONTAINER_NOT_FOUND", inspectContainer(docker, id));
}

/** An exit that is being waited for. */
export interface ArmedWait {
  /** How the container exited, once it has. */
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
    { method: "POST", path, query: { condition }, harmless: true },
    signal,
  );
  const source = await meaning(call, id, { kinds: { 404: "CONTAINER_NOT_FOUND" } });
  // It may fail before anybody reads it.
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

async function* runContainer(
  docker: DockerConnection,
  request: RunContainerRequest,
  call: Call,
): AsyncGenerator<RunContainerResponse> {
  const { signal } = call;
  for await (const { event } of pullFirst(docker, request, RunContainerRequestSchema, call)) {
    if (event.case === "progress") yield runEvent({ case: "pullProgress", value: event.value });
  }
  const { json, warnings, existed } = await createContainer(
    docker,
    request,
    RunContainerRequestSchema,
    call,
  );
  const id = json.Id;
  let started = false;
  let ended = false;
  try {
    const created = { containerId: id, name: json.Name.replace(/^\//, ""), warnings };
    yield runEvent({ case: "created", value: created } as RunEvent);
    const run = await armRun(docker, json, signal);
    try {
      if (run.fresh) await startContainer(docker, id, "spec");
      started = true;
      yield runEvent({ case: "started", value: {} } as RunEvent);
      for await (const value of outputBatches(run.output, json.Config.Tty === true)) {
        yield runEvent({ case: "output", value });
      }
      const value = await run.exit.status();
      ended = true;
      yield runEvent({ case: "exit", value });
    } finally {
      run.cancel();
    }
  } finally {
    const keep = existed || (signal.aborted && request.requestId !== "");
    if (!started && !keep) await removeUnstarted(docker, id);
    if (started && !ended && request.onDisconnect === DisconnectAction.KILL) await kill(docker, id);
  }
}

/** A container whose output and exit are being watched, before it is started. */
interface ArmedRun {
  /** It has never been started. */
  readonly fresh: boolean;
  readonly output: AsyncIterable<Buffer>;
  readonly exit: ArmedWait;
  cancel(): void;
}

async function armRun(
  docker: DockerConnection,
  { Id, State, HostConfig }: ContainerJson,
  signal: AbortSignal,
): Promise<ArmedRun> {
  const fresh = State.Status === "created";
  const source = await (fresh ? attachOutput : loggedOutput)(docker, Id, signal);
  try {
    const condition = HostConfig.AutoRemove ? "removed" : fresh ? "next-exit" : "not-running";
    const exit = await armWait(docker, Id, condition, signal);
    const cancel = (): void => {
      exit.cancel();
      source.destroy();
    };
    return { fresh, output: docker.api.read(source, signal), exit, cancel };
  } catch (error) {
    source.destroy();
    throw error;
  }
}

async function attachOutput(
  docker: DockerConnection,
  id: string,
  signal: AbortSignal,
): Promise<Readable> {
  const query = { stream: true, stdout: true, stderr: true };
  return docker.api.hijack(
    { method: "POST", path: `/containers/${id}/attach`, query, harmless: true },
    signal,
  );
}

/** For a repeated call: all that was written before it, too. An attachment would miss a past exit. */
async function loggedOutput(
  docker: DockerConnection,
  id: string,
  signal: AbortSignal,
): Promise<Readable> {
  const query = { follow: true, stdout: true, stderr: true };
  const call = docker.api.stream({ path: `/containers/${id}/logs`, query }, signal);
  return meaning(call, id, { kinds: { 501: "LOGS_NOT_READABLE" } });
}

type RunEvent = NonNullable<RunContainerResponse["event"]>;

function runEvent(event: RunEvent): RunContainerResponse {
  return create(RunContainerResponseSchema, { event });
}

/** Ends a container, if it has not ended by itself. */
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

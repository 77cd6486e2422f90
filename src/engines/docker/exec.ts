/** Commands run in containers on Docker. */
import type { Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import type {
  ContainerService,
  ExecContainerSyncResponse,
  ExecSpec,
} from "../../../gen/nap/v1/container_service_pb.js";
import {
  ExecContainerSyncResponseSchema,
  ExecSpecSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import { ExitStatusSchema, OutputStream } from "../../../gen/nap/v1/types_pb.js";
import type { Methods } from "../../engine/engine.js";
import { environmentList } from "../../engine/environment.js";
import type { NapError } from "../../engine/error.js";
import { defaultOutputBytes, KeptBytes, reasonBytes } from "../../engine/kept_bytes.js";
import { sleep } from "../../engine/wait.js";
import { DockerStatusError, pathPart } from "./api.js";
import type { DockerConnection } from "./connection.js";
import { inspectContainer } from "./containers.js";
import { dockerError, hasStatus, meaning } from "./errors.js";
import { outputBatches } from "./frames.js";
import type { ExecJson } from "./json.js";

/** How often a command that has closed its output is asked whether it has ended. */
const endPollMillis = 20;

/** The calls that run a command in a container. */
export function execMethods(docker: DockerConnection) {
  return {
    execContainerSync: async (request, { signal }) => {
      const spec = request.exec ?? create(ExecSpecSchema);
      const stdin = request.stdin.length > 0;
      const id = await createExec(docker, request.container, spec, stdin);
      const body = { Detach: false, Tty: spec.tty === true };
      const path = `/exec/${id}/start`;
      const start = docker.api.hijack({ method: "POST", path, body }, signal);
      const socket = await meaning(start, request.container, { field: "exec" });
      if (stdin) socket.end(request.stdin);
      const limit = request.maxOutputBytes ?? defaultOutputBytes;
      const reason = new KeptBytes(reasonBytes);
      const output = await collect(docker, socket, spec.tty === true, limit, reason, signal);
      const ended = await endOfExec(docker, id, signal);
      // A command that never ran has no process id, and dockerd sends the reason as its output.
      if (ended.Pid === 0) throw startFailure(request.container, reason.bytes());
      const exit = create(ExitStatusSchema, { code: ended.ExitCode ?? 0 });
      return create(ExecContainerSyncResponseSchema, { exit, ...output });
    },
  } satisfies Methods<typeof ContainerService>;
}

async function createExec(
  docker: DockerConnection,
  container: string,
  spec: ExecSpec,
  stdin: boolean,
): Promise<string> {
  const body = {
    AttachStdin: stdin,
    AttachStdout: true,
    AttachStderr: true,
    Cmd: spec.command,
    Env: environmentList(spec.environment),
    WorkingDir: spec.workingDir ?? "",
    User: spec.user ?? "",
    Privileged: spec.privileged === true,
    Tty: spec.tty === true,
  };
  const path = `/containers/${pathPart(container)}/exec`;
  try {
    return (await docker.api.json<{ Id: string }>({ method: "POST", path, body })).body.Id;
  } catch (error) {
    // 409 is both "it does not run" and "it is paused".
    const paused =
      hasStatus(error, 409) && (await inspectContainer(docker, container)).State.Paused;
    const conflict = paused ? "CONTAINER_PAUSED" : "CONTAINER_NOT_RUNNING";
    const kinds = { 404: "CONTAINER_NOT_FOUND", 409: conflict } as const;
    throw dockerError(error, container, { kinds, field: "exec" });
  }
}

type Output = Pick<
  ExecContainerSyncResponse,
  "stdout" | "stderr" | "stdoutTruncated" | "stderrTruncated"
>;

/** Reads the output to its end and keeps the first `limit` bytes of each stream. */
async function collect(
  docker: DockerConnection,
  socket: Socket,
  tty: boolean,
  limit: number,
  reason: KeptBytes,
  signal: AbortSignal,
): Promise<Output> {
  const kept = { stdout: new KeptBytes(limit), stderr: new KeptBytes(limit) };
  for await (const { chunks } of outputBatches(docker.api.read(socket, signal), tty)) {
    for (const { stream, data } of chunks) {
      reason.add(data);
      (stream === OutputStream.STDERR ? kept.stderr : kept.stdout).add(data);
    }
  }
  return {
    stdout: kept.stdout.bytes(),
    stderr: kept.stderr.bytes(),
    stdoutTruncated: kept.stdout.truncated,
    stderrTruncated: kept.stderr.truncated,
  };
}

async function endOfExec(
  docker: DockerConnection,
  id: string,
  signal: AbortSignal,
): Promise<ExecJson> {
  for (;;) {
    const { body } = await docker.api.json<ExecJson>({ path: `/exec/${id}/json` }, signal);
    if (!body.Running) return body;
    await sleep(endPollMillis, signal);
  }
}

/** What the output of a command that never ran says of why; dockerd's status for it is 200. */
function startFailure(container: string, said: Uint8Array): NapError {
  const words = Buffer.from(said).toString().trim();
  const error = dockerError(new DockerStatusError(400, words), container, { field: "exec" });
  return error as NapError;
}

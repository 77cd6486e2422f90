/** A command in a container on Docker, from its making to its end. */
import type { Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import type { ExecSpec } from "../../../../gen/nap/v1/container_service_pb.js";
import type { ExitStatus, TerminalSize } from "../../../../gen/nap/v1/types_pb.js";
import { DisconnectAction, ExitStatusSchema } from "../../../../gen/nap/v1/types_pb.js";
import { environmentList } from "../../../lib/env-vars.js";
import { BoundedBuffer, reasonBytes } from "../../../lib/bounded-buffer.js";
import type { NapError } from "../../../contract/errors.js";
import { sleep } from "../../../lib/sleep.js";
import { DockerStatusError, pathPart } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer } from "../containers/reads.js";
import { hasStatus, mapDockerError, withDockerErrors } from "../errors.js";
import { outputBatches } from "../../docker-http/frames.js";
import type { HostProcess } from "./host-processes.js";
import { hostProcess, killTree, signalProcess } from "./host-processes.js";
import type { ExecJson } from "../../docker-http/json.js";
import { unusedDetachKeys } from "./stdin.js";

/** How often a command that is starting, or has closed its output, is inspected. */
const pollMillis = 20;
/** How long a command may take to start after its caller has gone. */
const startMillis = 10_000;

/** A command to run, as dockerd needs it. */
export interface CommandRequest {
  readonly container: string;
  readonly spec: ExecSpec;
  /** The path of the spec in the client's request. */
  readonly field: "exec" | "open.exec";
  readonly stdin: boolean;
  readonly size?: TerminalSize | undefined;
  readonly disconnectAction: DisconnectAction;
}

/** A command in a container. The caller that starts it must call {@link RunningCommand.leave}. */
export class RunningCommand {
  #socket: Socket | undefined;
  #process: HostProcess | undefined;
  /** dockerd was asked to start it. */
  #asked = false;
  #ended = false;

  private constructor(
    private readonly docker: DockerConnection,
    private readonly request: CommandRequest,
    /** dockerd's id of the command. */
    readonly id: string,
  ) {}

  /** Makes a command, which does not run yet. */
  static async create(docker: DockerConnection, request: CommandRequest): Promise<RunningCommand> {
    return new RunningCommand(docker, request, await createExec(docker, request));
  }

  /**
   * Starts it and gives its process id and the connection to it. Resolves when it runs, or has run:
   * its output is not read before, since dockerd sends there why a command does not start.
   */
  async start(signal: AbortSignal): Promise<{ pid: number; socket: Socket }> {
    const { container, spec, size, field } = this.request;
    const tty = spec.tty === true;
    const body = { Detach: false, Tty: tty };
    const path = `/exec/${this.id}/start`;
    this.#asked = true;
    const start = this.docker.api.hijack({ method: "POST", path, body }, signal);
    const socket = (this.#socket = await withDockerErrors(start, container, { field }));
    const begun = await this.#begun(signal);
    const pid = begun.Pid;
    if (pid === 0) throw startFailure(this.request, await this.#reason(socket, signal));
    await this.#identify(begun);
    if (size !== undefined) await this.resize(size);
    return { pid, socket };
  }

  /** Gives its terminal a size; without effect where it has ended. */
  async resize({ columns: w, rows: h }: TerminalSize): Promise<void> {
    const path = `/exec/${this.id}/resize`;
    try {
      await this.docker.api.json({ method: "POST", path, query: { h, w } });
    } catch (error) {
      if (await this.#runs()) throw mapDockerError(error, this.id, { field: "resize" });
    }
  }

  /** Sends it a signal; without effect where it has ended. */
  async signal(signal: string): Promise<void> {
    if (this.#process !== undefined) await signalProcess(this.#process, signal);
  }

  /** Waits for its end, which may come after that of its output, and gives its exit. */
  async exit(signal: AbortSignal): Promise<ExitStatus> {
    for (;;) {
      const { Running, ExitCode } = await withDockerErrors(this.#inspect(signal), this.id, {});
      this.#ended = !Running;
      if (!Running) return create(ExitStatusSchema, { code: ExitCode ?? 0 });
      await sleep(pollMillis, signal);
    }
  }

  /** Releases it; if it has not ended, applies the request's disconnect action. */
  async leave(): Promise<void> {
    this.#socket?.destroy();
    if (this.#ended || this.request.disconnectAction !== DisconnectAction.KILL) return;
    if (this.#process === undefined && this.#asked) {
      // The call was cut short while dockerd was starting it, which it goes on to do.
      await this.#identify(
        await this.#begun(AbortSignal.timeout(startMillis)).catch(() => undefined),
      );
    }
    if (this.#process !== undefined) await killTree(this.#process);
  }

  /** Returns its inspection once it has started or failed to start; dockerd answers before that. */
  async #begun(signal: AbortSignal): Promise<ExecJson> {
    for (;;) {
      const json = await withDockerErrors(this.#inspect(signal), this.id, {});
      if (json.Pid > 0 || json.ExitCode !== null) return json;
      await sleep(pollMillis, signal);
    }
  }

  /**
   * Determines its process if nap can access it; the process is the right one if the command still runs
   * afterwards.
   */
  async #identify(begun: ExecJson | undefined): Promise<void> {
    if (!this.docker.ownHost || !begun?.Running) return;
    const found = await hostProcess(begun.Pid, begun.ContainerID);
    if (await this.#runs()) this.#process = found;
  }

  async #runs(): Promise<boolean> {
    try {
      return (await this.#inspect()).Running;
    } catch (error) {
      // It went with its container.
      if (hasStatus(error, 404)) return false;
      throw error;
    }
  }

  async #inspect(signal?: AbortSignal): Promise<ExecJson> {
    return (await this.docker.api.json<ExecJson>({ path: `/exec/${this.id}/json` }, signal)).body;
  }

  /** Returns the output of a command that never ran, which is the error message. */
  async #reason(socket: Socket, signal: AbortSignal): Promise<Uint8Array> {
    const output = new BoundedBuffer(reasonBytes);
    const source = this.docker.api.read(socket, signal);
    for await (const { chunks } of outputBatches(source, this.request.spec.tty === true)) {
      for (const { data } of chunks) output.add(data);
    }
    return output.bytes();
  }
}

async function createExec(
  docker: DockerConnection,
  { container, spec, stdin, field }: CommandRequest,
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
    DetachKeys: unusedDetachKeys,
  };
  const path = `/containers/${pathPart(container)}/exec`;
  try {
    return (await docker.api.json<{ Id: string }>({ method: "POST", path, body })).body.Id;
  } catch (error) {
    // 409 is both "it does not run" and "it is paused".
    const paused =
      hasStatus(error, 409) && (await inspectContainer(docker, container)).State.Paused;
    const conflict = paused ? "CONTAINER_PAUSED" : "CONTAINER_NOT_RUNNING";
    const reasons = { 404: "CONTAINER_NOT_FOUND", 409: conflict } as const;
    throw mapDockerError(error, container, { reasons, field });
  }
}

/** Returns the error for a command that never ran, from its output; dockerd's status for it is 200. */
function startFailure({ container, field }: CommandRequest, output: Uint8Array): NapError {
  const words = Buffer.from(output).toString().trim();
  const error = mapDockerError(new DockerStatusError(400, words), container, { field });
  return error as NapError;
}

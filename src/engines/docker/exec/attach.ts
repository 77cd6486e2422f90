/** The input and output of a container's first process on Docker, as streams. */
import type { Socket } from "node:net";
import { create } from "@bufbuild/protobuf";
import type {
  AttachContainerRequest,
  AttachContainerResponse,
  AttachOpen,
  ContainerService,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { AttachContainerResponseSchema } from "../../../../gen/nap/v1/container_service_pb.js";
import type { TerminalSize } from "../../../../gen/nap/v1/types_pb.js";
import { DisconnectAction, OutputStream } from "../../../../gen/nap/v1/types_pb.js";
import { readOpen } from "../../../contract/open.js";
import type { Call, Methods } from "../../../core/engine.js";
import { fieldError } from "../../../contract/errors.js";
import type { ProcessIo } from "../../../core/containers/process-session.js";
import {
  interact,
  refuseSizeWithoutTerminal,
  runDuplex,
} from "../../../core/containers/process-session.js";
import type { DockerConnection } from "../connection.js";
import { armWait, inspectIfThere, kill } from "../containers/run.js";
import { inspectContainer } from "../containers/reads.js";
import { exitOf } from "../../docker-http/convert/container/container.js";
import { mapDockerError, withDockerErrors } from "../errors.js";
import { outputBatches } from "../../docker-http/frames.js";
import type { ContainerJson } from "../../docker-http/json.js";
import { unusedDetachKeys, writeStdin } from "./stdin.js";

/** The calls that connect to a container's first process. */
export function attachMethods(docker: DockerConnection) {
  return {
    attachContainer: (requests, call) => attachContainer(docker, requests, call),
  } satisfies Methods<typeof ContainerService>;
}

async function* attachContainer(
  docker: DockerConnection,
  requests: AsyncIterable<AttachContainerRequest>,
  { signal }: Call,
): AsyncGenerator<AttachContainerResponse> {
  const incoming = requests[Symbol.asyncIterator]();
  const open = await readOpen(incoming);
  const { container } = open;
  const json = await inspectContainer(docker, container, signal);
  const { Id, Config, State, HostConfig } = json;
  const tty = Config.Tty === true;
  refuseSizeWithoutTerminal(open.terminalSize, tty);
  if (open.stdin && !Config.OpenStdin) {
    const description = `${container} was created without stdin_open`;
    throw fieldError([{ field: "open.stdin", description, reason: "FIELD_INVALID" }]);
  }
  const finished = new AbortController();
  const combined = AbortSignal.any([signal, finished.signal]);
  const exit = await armWait(docker, Id, HostConfig.AutoRemove ? "removed" : "next-exit", combined);
  let ended = false;
  try {
    const { socket, output } = await attach(docker, json, open, combined);
    if (open.terminalSize) await firstSize(docker, json, open.terminalSize, combined);
    yield event({ case: "attached", value: { containerId: Id } } as Event);
    // dockerd holds an attachment to a container that has just exited until it is started again.
    const now = State.Running ? await inspectIfThere(docker, Id) : json;
    if (now?.State.Running === State.Running) {
      const process = interlocutor(docker, json, open, socket);
      const batches = runDuplex(
        (ends) => interact(incoming, process, ends),
        (ends) => outputBatches(endedBy(output, ends, finished), tty),
        combined,
      );
      for await (const value of batches) yield event({ case: "output", value });
    }
    const known = now?.State.Running === State.Running ? undefined : now && exitOf(now.State);
    const value = known ?? (await exit.status());
    ended = true;
    yield event({ case: "exit", value });
  } finally {
    finished.abort();
    exit.cancel();
    if (!ended && open.disconnectAction === DisconnectAction.KILL) await kill(docker, Id);
  }
}

/** A connection to a container: where to write, and what comes of it. */
interface Attached {
  /** Absent where neither input nor what is written from now on comes this way. */
  readonly socket?: Socket;
  readonly output: AsyncIterable<Buffer>;
}

/**
 * Attaches. Output so far comes from the log: for a running container in one stream with the new output,
 * else before it.
 */
async function attach(
  docker: DockerConnection,
  json: ContainerJson,
  open: AttachOpen,
  signal: AbortSignal,
): Promise<Attached> {
  const { Id, State } = json;
  const wants = (stream: OutputStream): boolean =>
    open.streams.length === 0 || open.streams.includes(stream);
  const streams = { stdout: wants(OutputStream.STDOUT), stderr: wants(OutputStream.STDERR) };
  const readLog = async (follow: boolean): Promise<AsyncGenerator<Buffer>> => {
    const query = { ...streams, follow };
    const call = docker.api.stream({ path: `/containers/${Id}/logs`, query }, signal);
    const reasons = { 404: "CONTAINER_NOT_FOUND", 501: "LOG_DRIVER_NOT_READABLE" } as const;
    return docker.api.read(await withDockerErrors(call, Id, { reasons }), signal);
  };
  const hijack = async (query: object): Promise<Socket> => {
    const call = docker.api.hijack(
      {
        method: "POST",
        path: `/containers/${Id}/attach`,
        query: { stream: true, stdin: open.stdin, ...query, detachKeys: unusedDetachKeys },
      },
      signal,
    );
    const reasons = { 404: "CONTAINER_NOT_FOUND", 409: "CONTAINER_PAUSED" } as const;
    const socket = await withDockerErrors(call, Id, { reasons });
    signal.addEventListener("abort", () => socket.destroy(), { once: true });
    return socket;
  };
  if (open.replay && State.Running) {
    const output = await readLog(true);
    return open.stdin ? { socket: await hijack({}), output } : { output };
  }
  const socket = await hijack(streams);
  const live = docker.api.read(socket, signal);
  if (!open.replay) return { socket, output: live };
  const log = await readLog(false);
  // Once dockerd sends the first entry, the end of the log is fixed, and later output comes through the
  // attachment.
  const first = await log.next();
  return { socket, output: joined(first, log, live) };
}

async function* joined(
  first: IteratorResult<Buffer, unknown>,
  log: AsyncIterable<Buffer>,
  live: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  if (first.done !== true) yield first.value;
  yield* log;
  yield* live;
}

/** Ends the connections, and so the output, with the reason of `signal` where that aborts. */
async function* endedBy(
  output: AsyncIterable<Buffer>,
  signal: AbortSignal,
  connections: AbortController,
): AsyncGenerator<Buffer> {
  const onAbort = (): void => connections.abort(signal.reason);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    yield* output;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function interlocutor(
  docker: DockerConnection,
  json: ContainerJson,
  open: AttachOpen,
  socket: Socket | undefined,
): ProcessIo {
  const { Id, Config } = json;
  const tty = Config.Tty === true;
  const post = async (verb: string, query: object, field: string): Promise<void> => {
    try {
      const path = `/containers/${Id}/${verb}`;
      await docker.api.json({ method: "POST", path, query: query as Record<string, string> });
    } catch (error) {
      if (await hasRun(docker, json)) return;
      const reasons = { 409: "CONTAINER_NOT_RUNNING" } as const;
      throw mapDockerError(error, Id, { reasons, field });
    }
  };
  return {
    ...(open.stdin && socket && { write: (data: Uint8Array) => writeStdin(socket, data) }),
    // In any other case dockerd would not tell the container, and end the output with the input.
    closeStdin: () => void (open.stdin && Config.StdinOnce && !tty && socket?.end()),
    ...(tty && { resize: (size: TerminalSize) => post("resize", query(size), "resize") }),
    signal: (signal) => post("kill", { signal }, "signal"),
  };
}

function query({ rows, columns }: TerminalSize): { h: number; w: number } {
  return { h: rows, w: columns };
}

/** Returns whether a container has run and stopped since it was attached to, so the call came too late. */
async function hasRun(docker: DockerConnection, { Id, State }: ContainerJson): Promise<boolean> {
  const now = await inspectIfThere(docker, Id);
  if (now?.State.Running === true) return false;
  return State.Running || now?.State.StartedAt !== State.StartedAt;
}

/** Sets the terminal's initial size now, or when the container is started. */
async function firstSize(
  docker: DockerConnection,
  { Id, State }: ContainerJson,
  size: TerminalSize,
  signal: AbortSignal,
): Promise<void> {
  const path = `/containers/${Id}/resize`;
  const resize = () => docker.api.json({ method: "POST", path, query: query(size) }, signal);
  if (State.Running) {
    await withDockerErrors(resize(), Id, { field: "open.terminal_size" });
    return;
  }
  const filters = { container: [Id], event: ["start"] };
  const events = await docker.api.stream({ path: "/events", query: { filters } }, signal);
  const started = (async () => {
    for await (const _ of docker.api.read(events, signal)) {
      await resize();
      return;
    }
  })();
  // If the container ends at once or is never started, there is no terminal to resize.
  started.catch(() => undefined);
}

type Event = NonNullable<AttachContainerResponse["event"]>;

function event(event: Event): AttachContainerResponse {
  return create(AttachContainerResponseSchema, { event });
}

/** Commands run in containers on Docker: with their input and output as streams. */
import { create } from "@bufbuild/protobuf";
import type {
  ContainerService,
  ExecContainerRequest,
  ExecContainerResponse,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ExecContainerResponseSchema,
  ExecSpecSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { readOpen } from "../../../contract/open.js";
import type { Call, Methods } from "../../../core/engine.js";
import {
  interact,
  refuseSizeWithoutTerminal,
  runDuplex,
} from "../../../core/containers/process-session.js";
import type { DockerConnection } from "../connection.js";
import { RunningCommand } from "./command.js";
import { outputBatches } from "../../docker-http/frames.js";
import { writeStdin } from "./stdin.js";

/** The calls that give a command's input and output as streams. */
export function execStreams(docker: DockerConnection) {
  return {
    execContainer: (requests, call) => execContainer(docker, requests, call),
  } satisfies Methods<typeof ContainerService>;
}

async function* execContainer(
  docker: DockerConnection,
  requests: AsyncIterable<ExecContainerRequest>,
  { signal }: Call,
): AsyncGenerator<ExecContainerResponse> {
  const incoming = requests[Symbol.asyncIterator]();
  const open = await readOpen(incoming);
  const { container, exec: spec = create(ExecSpecSchema), stdin, disconnectAction } = open;
  const { terminalSize: size } = open;
  const tty = spec.tty === true;
  refuseSizeWithoutTerminal(size, tty);
  const field = "open.exec";
  const asked = { container, spec, field, stdin, size, disconnectAction } as const;
  const command = await RunningCommand.create(docker, asked);
  try {
    const { pid, socket } = await command.start(signal);
    yield event({ case: "started", value: { execId: command.id, pid: BigInt(pid) } } as Event);
    const process = {
      ...(stdin && { write: (data: Uint8Array) => writeStdin(socket, data) }),
      // With a terminal, dockerd would end the output with the input.
      closeStdin: () => void (stdin && !tty && socket.end()),
      ...(tty && { resize: (to: Parameters<typeof command.resize>[0]) => command.resize(to) }),
      signal: (name: string) => command.signal(name),
    };
    const output = runDuplex(
      (combined) => interact(incoming, process, combined),
      (combined) => outputBatches(docker.api.read(socket, combined), tty),
      signal,
    );
    for await (const value of output) yield event({ case: "output", value });
    yield event({ case: "exit", value: await command.exit(signal) });
  } finally {
    await command.leave();
  }
}

type Event = NonNullable<ExecContainerResponse["event"]>;

function event(event: Event): ExecContainerResponse {
  return create(ExecContainerResponseSchema, { event });
}

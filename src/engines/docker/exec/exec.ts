/** Commands run in containers on Docker: the call that waits for their end. */
import { create } from "@bufbuild/protobuf";
import type {
  ContainerService,
  ExecContainerSyncResponse,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ExecContainerSyncResponseSchema,
  ExecSpecSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { OutputBatch } from "../../../../gen/nap/v1/types_pb.js";
import { OutputStream } from "../../../../gen/nap/v1/types_pb.js";
import type { Methods } from "../../../core/engine.js";
import { BoundedBuffer, defaultOutputBytes } from "../../../lib/bounded-buffer.js";
import type { DockerConnection } from "../connection.js";
import { RunningCommand } from "./command.js";
import { outputBatches } from "../../docker-http/frames.js";

/** The calls that run a command in a container. */
export function execMethods(docker: DockerConnection) {
  return {
    execContainerSync: async (request, { signal }) => {
      const { container, disconnectAction, exec: spec = create(ExecSpecSchema) } = request;
      const tty = spec.tty === true;
      const stdin = request.stdin.length > 0;
      const asked = { container, spec, field: "exec", stdin, disconnectAction } as const;
      const command = await RunningCommand.create(docker, asked);
      try {
        const { socket } = await command.start(signal);
        // With a terminal, dockerd would end the output with the input.
        if (stdin && tty) socket.write(request.stdin);
        else if (stdin) socket.end(request.stdin);
        const limit = request.maxOutputBytes ?? defaultOutputBytes;
        const output = await collect(outputBatches(docker.api.read(socket, signal), tty), limit);
        const exit = await command.exit(signal);
        return create(ExecContainerSyncResponseSchema, { exit, ...output });
      } finally {
        await command.leave();
      }
    },
  } satisfies Methods<typeof ContainerService>;
}

type Output = Pick<
  ExecContainerSyncResponse,
  "stdout" | "stderr" | "stdoutTruncated" | "stderrTruncated"
>;

/** Reads the output to its end and keeps the first `limit` bytes of each stream. */
async function collect(batches: AsyncIterable<OutputBatch>, limit: number): Promise<Output> {
  const kept = { stdout: new BoundedBuffer(limit), stderr: new BoundedBuffer(limit) };
  for await (const { chunks } of batches) {
    for (const { stream, data } of chunks) {
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

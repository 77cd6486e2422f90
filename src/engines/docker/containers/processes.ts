/** Containers on Docker: their processes and terminals. */
import { create } from "@bufbuild/protobuf";
import type {
  ContainerProcess,
  ContainerService,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerProcessSchema,
  ListContainerProcessesResponseSchema,
  ResizeContainerTerminalResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { Methods } from "../../../core/engine.js";
import { NapError } from "../../../contract/errors.js";
import { linePages, pageOf } from "../../../core/lists/page.js";
import { pathPart } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer, named } from "./reads.js";
import { withDockerErrors } from "../errors.js";
import type { ExecJson } from "../../docker-http/json.js";

/** The columns that dockerd asks the host's ps for; the last one may have blanks. */
const columns = ["pid", "ppid", "uid", "rss", "cputimes", "args"];

/** The largest process id of Linux is 2^22. */
const maxPidDigits = 7;

const running = { reasons: { ...named.reasons, 409: "CONTAINER_NOT_RUNNING" } } as const;

/** The calls on a container's processes and terminals. */
export function processMethods(docker: DockerConnection) {
  return {
    listContainerProcesses: async (request, { signal }) => {
      const { container } = request;
      const path = `/containers/${pathPart(container)}/top`;
      const query = { ps_args: `-eo ${columns.join(",")}` };
      const call = docker.api.json<{ Processes: string[][] | null }>({ path, query }, signal);
      const { body } = await withDockerErrors(call, container, running);
      const all = (body.Processes ?? []).map(processFromPs);
      const { items, nextPageToken } = await pageOf(all, request, {
        key: ({ pid }) => String(pid).padStart(maxPidDigits, "0"),
        load: async (page) => page,
        schema: ContainerProcessSchema,
        sizes: linePages,
      });
      return create(ListContainerProcessesResponseSchema, { processes: items, nextPageToken });
    },

    resizeContainerTerminal: async ({ container, size, execId }) => {
      const { Id, Config } = await inspectContainer(docker, container);
      if (execId === "" && !Config.Tty) {
        const message = `${container} has no terminal`;
        throw new NapError("NO_TERMINAL", message, { resource: container });
      }
      if (execId !== "") await findTerminal(docker, Id, execId);
      const query = { h: size?.rows, w: size?.columns };
      const of = execId === "" ? `/containers/${Id}` : `/exec/${pathPart(execId)}`;
      const call = docker.api.json({ method: "POST", path: `${of}/resize`, query });
      await withDockerErrors(call, execId || container, { ...running, field: "size" });
      return create(ResizeContainerTerminalResponseSchema);
    },
  } satisfies Methods<typeof ContainerService>;
}

/** Fails where a command is not there, is not this container's, or has no terminal. */
async function findTerminal(docker: DockerConnection, id: string, execId: string): Promise<void> {
  const call = docker.api.json<ExecJson>({ path: `/exec/${pathPart(execId)}/json` });
  const { body } = await withDockerErrors(call, execId, { reasons: { 404: "EXEC_NOT_FOUND" } });
  const foreign = body.ContainerID !== id;
  if (!foreign && body.ProcessConfig.tty) return;
  const message = foreign ? `${id} has no command ${execId}` : `${execId} has no terminal`;
  const reason = foreign ? "EXEC_NOT_FOUND" : "NO_TERMINAL";
  throw new NapError(reason, message, { resource: execId });
}

function processFromPs([pid, parent, uid, rss, seconds, command = ""]: string[]): ContainerProcess {
  return create(ContainerProcessSchema, {
    pid: BigInt(pid ?? 0),
    parentPid: BigInt(parent ?? 0),
    uid: Number(uid),
    command,
    cpuTime: { seconds: BigInt(seconds ?? 0) },
    // ps counts in KiB.
    residentBytes: BigInt(rss ?? 0) * 1024n,
  });
}

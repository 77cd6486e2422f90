/** Containers on Docker: their processes and terminals. */
import { create } from "@bufbuild/protobuf";
import type {
  ContainerProcess,
  ContainerService,
} from "../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerProcessSchema,
  ListContainerProcessesResponseSchema,
  ResizeContainerTerminalResponseSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { Methods } from "../../engine/engine.js";
import { NapError } from "../../engine/error.js";
import { pathPart } from "./api.js";
import type { DockerConnection } from "./connection.js";
import { inspectContainer, named } from "./containers.js";
import { hasStatus, meaning } from "./errors.js";
import type { ExecJson } from "./json.js";

/** The columns that dockerd asks the host's ps for; the last one may have blanks. */
const columns = ["pid", "ppid", "uid", "rss", "cputimes", "args"];

const running = { kinds: { ...named.kinds, 409: "CONTAINER_NOT_RUNNING" } } as const;

/** The calls on a container's processes and terminals. */
export function processMethods(docker: DockerConnection) {
  return {
    listContainerProcesses: async ({ container }, { signal }) => {
      const path = `/containers/${pathPart(container)}/top`;
      const query = { ps_args: `-eo ${columns.join(",")}` };
      const call = docker.api.json<{ Processes: string[][] | null }>({ path, query }, signal);
      const { body } = await meaning(call, container, running);
      const processes = (body.Processes ?? []).map(processFromPs);
      return create(ListContainerProcessesResponseSchema, { processes });
    },

    resizeContainerTerminal: async ({ container, size, execId }) => {
      const { Id, Config } = await inspectContainer(docker, container);
      if (execId === "" && !Config.Tty) {
        const message = `${container} has no terminal`;
        throw new NapError("TERMINAL_NOT_FOUND", message, { resource: container });
      }
      if (execId !== "" && !(await isExecOf(docker, execId, Id))) {
        const message = `${container} has no command ${execId}`;
        throw new NapError("EXEC_NOT_FOUND", message, { resource: execId });
      }
      const query = { h: size?.rows, w: size?.columns };
      const of = execId === "" ? `/containers/${Id}` : `/exec/${pathPart(execId)}`;
      const call = docker.api.json({ method: "POST", path: `${of}/resize`, query });
      const kinds = { ...running.kinds, ...(execId !== "" && { 404: "EXEC_NOT_FOUND" as const }) };
      await meaning(call, execId || container, { kinds, field: "size" });
      return create(ResizeContainerTerminalResponseSchema);
    },
  } satisfies Methods<typeof ContainerService>;
}

/** Whether a command was started in this container. */
async function isExecOf(docker: DockerConnection, exec: string, id: string): Promise<boolean> {
  try {
    const path = `/exec/${pathPart(exec)}/json`;
    return (await docker.api.json<ExecJson>({ path })).body.ContainerID === id;
  } catch (error) {
    if (hasStatus(error, 404)) return false;
    throw error;
  }
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

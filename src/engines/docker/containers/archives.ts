/** Files of containers on Docker, as tar archives. */
import type { IncomingMessage } from "node:http";
import { posix } from "node:path";
import { create } from "@bufbuild/protobuf";
import type {
  ContainerService,
  ExportContainerRequest,
  ExportContainerResponse,
  ReadContainerArchiveRequest,
  ReadContainerArchiveResponse,
  WriteContainerArchiveRequest,
  WriteContainerArchiveResponse,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ExportContainerResponseSchema,
  ReadContainerArchiveResponseSchema,
  StatContainerPathResponseSchema,
  WriteArchiveResultSchema,
  WriteContainerArchiveResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { PathStat } from "../../../../gen/nap/v1/types_pb.js";
import { checkArchive } from "../../../core/uploads/check-archive.js";
import { readOpen } from "../../../contract/open.js";
import type { Call, Methods } from "../../../core/engine.js";
import { NapError } from "../../../contract/errors.js";
import type { SpoolConfig } from "../../../core/uploads/spool.js";
import { SpoolFile } from "../../../core/uploads/spool.js";
import type { UploadProgress } from "../../../core/transfers/progress.js";
import { downloadEvents, withProgress } from "../../../core/transfers/progress.js";
import { takeArchive } from "../../../core/uploads/upload.js";
import { DockerStatusError, pathPart } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer, named } from "./reads.js";
import { pathStatFromHeader } from "../../docker-http/convert/path-stat.js";
import type { Operation } from "../errors.js";
import { withDockerErrors } from "../errors.js";
import type { ContainerJson } from "../../docker-http/json.js";

/** The calls that move files in and out of containers. Uploads are kept in the spool. */
export function archiveMethods(docker: DockerConnection, spool: SpoolConfig) {
  return {
    statContainerPath: async ({ container, path }, { signal }) => {
      const { Id } = await reachable(docker, container, path, signal);
      const stat = await statPath(docker, Id, path, signal);
      return create(StatContainerPathResponseSchema, { stat });
    },
    readContainerArchive: (request, call) => readArchive(docker, request, call),
    writeContainerArchive: (requests, call) => writeArchive(docker, spool, requests, call),
    exportContainer: (request, call) => exportContainer(docker, request, call),
  } satisfies Methods<typeof ContainerService>;
}

async function* readArchive(
  docker: DockerConnection,
  { container, path }: ReadContainerArchiveRequest,
  { signal }: Call,
): AsyncGenerator<ReadContainerArchiveResponse> {
  const { Id } = await reachable(docker, container, path, signal);
  const source = await withDockerErrors(
    docker.api.stream(archive(Id, { path }), signal),
    path,
    atPath,
  );
  try {
    const event = { case: "stat" as const, value: statOf(source) };
    yield create(ReadContainerArchiveResponseSchema, { event });
    for await (const next of downloadEvents(docker.api.read(source, signal))) {
      yield create(ReadContainerArchiveResponseSchema, { event: next });
    }
  } finally {
    source.destroy();
  }
}

async function* writeArchive(
  docker: DockerConnection,
  spool: SpoolConfig,
  requests: AsyncIterable<WriteContainerArchiveRequest>,
  { signal }: Call,
): AsyncGenerator<WriteContainerArchiveResponse> {
  const incoming = requests[Symbol.asyncIterator]();
  const { container, path, allowTypeChange } = await readOpen(incoming);
  const { Id } = await reachable(docker, container, path, signal);
  // Check the path before receiving the upload.
  await statPath(docker, Id, path, signal, atOpenPath);
  const unpack = async (progress: UploadProgress, combined: AbortSignal): Promise<void> => {
    const file = await SpoolFile.open(spool);
    try {
      await takeArchive(incoming, file, (bytes) => progress.received(bytes));
      await checkArchive(file, combined);
      const upload = file.read();
      try {
        const query = { path, noOverwriteDirNonDir: !allowTypeChange };
        const request = { ...archive(Id, query), method: "PUT", upload } as const;
        await withDockerErrors(docker.api.json(request), path, atOpenPath);
      } finally {
        upload.destroy();
      }
    } finally {
      await file.close();
    }
  };
  yield* withProgress(unpack, (value) => written({ case: "progress", value }), signal);
  yield written({ case: "result", value: create(WriteArchiveResultSchema) });
}

function written(event: WriteContainerArchiveResponse["event"]): WriteContainerArchiveResponse {
  return create(WriteContainerArchiveResponseSchema, { event });
}

async function* exportContainer(
  docker: DockerConnection,
  { container }: ExportContainerRequest,
  { signal }: Call,
): AsyncGenerator<ExportContainerResponse> {
  const path = `/containers/${pathPart(container)}/export`;
  const source = await withDockerErrors(docker.api.stream({ path }, signal), container, named);
  for await (const event of downloadEvents(docker.api.read(source, signal))) {
    yield create(ExportContainerResponseSchema, { event });
  }
}

/** The reasons for errors of a call on a path in an existing container. */
const atPath = {
  reasons: { 404: "PATH_NOT_FOUND", 403: "PATH_READ_ONLY" },
  field: "path",
} as const;
const atOpenPath = { ...atPath, field: "open.path" } as const;

function archive(id: string, query: Readonly<Record<string, string | boolean>>) {
  return { path: `/containers/${id}/archive`, query };
}

async function statPath(
  docker: DockerConnection,
  id: string,
  path: string,
  signal: AbortSignal,
  operation: Operation = atPath,
): Promise<PathStat> {
  const request = archive(id, { path });
  const head = docker.api.stream({ ...request, method: "HEAD" }, signal).catch((error: unknown) => {
    if (!(error instanceof DockerStatusError)) throw error;
    // An answer to HEAD has a status alone; dockerd 20.10 says with 500 that a part is no directory.
    return docker.api.stream(request, signal);
  });
  const response = await withDockerErrors(head, path, operation);
  response.destroy();
  return statOf(response);
}

function statOf({ headers }: IncomingMessage): PathStat {
  return pathStatFromHeader(String(headers["x-docker-container-path-stat"]));
}

/** The file systems that the kernel mounts into every container. */
const ofTheKernel = ["/proc", "/sys", "/dev"];

/**
 * A container in which dockerd sees what is at a path. It looks at the container's file system from
 * outside, with its volumes and binds but without what is mounted in memory: there it would find, or
 * write, what the container itself does not see. Fails with PATH_NOT_ACCESSIBLE.
 */
async function reachable(
  docker: DockerConnection,
  container: string,
  path: string,
  signal: AbortSignal,
): Promise<ContainerJson> {
  const json = await inspectContainer(docker, container, signal);
  const inMemory = [
    ...ofTheKernel,
    ...Object.keys(json.HostConfig.Tmpfs ?? {}),
    ...json.Mounts.filter(({ Type }) => Type === "tmpfs").map(({ Destination }) => Destination),
  ];
  const onDisk = json.Mounts.filter(({ Type }) => Type !== "tmpfs");
  const depth = (targets: readonly string[]): number =>
    Math.max(0, ...targets.filter((at) => isBelow(path, at)).map((at) => at.length));
  if (depth(inMemory) > depth(onDisk.map(({ Destination }) => Destination))) {
    const message = `${path} is in memory of the container, where Docker cannot look`;
    throw new NapError("PATH_NOT_ACCESSIBLE", message, { resource: path });
  }
  return json;
}

function isBelow(path: string, directory: string): boolean {
  const relative = posix.relative(directory, path);
  return relative !== ".." && !relative.startsWith("../");
}

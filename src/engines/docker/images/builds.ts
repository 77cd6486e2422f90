/** Images on Docker: builds, by the builder that every dockerd of our API versions has. */
import { create } from "@bufbuild/protobuf";
import type {
  BuildImageOpen,
  BuildImageRequest,
  BuildImageResponse,
  ImageService,
} from "../../../../gen/nap/v1/image_service_pb.js";
import { BuildImageResponseSchema } from "../../../../gen/nap/v1/image_service_pb.js";
import type { RegistryCredentials } from "../../../../gen/nap/v1/types_pb.js";
import { readOpen } from "../../../contract/open.js";
import type { Call, Methods } from "../../../core/engine.js";
import { undefinedIf } from "../../../contract/errors.js";
import { uploadBytes } from "../../../core/uploads/upload.js";
import type { DockerRequest } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { buildError } from "../errors.js";
import { registryAuth } from "./transfers.js";
import { inspectImage } from "./images.js";
import { platformText } from "../../docker-http/platform.js";
import type { ReportJson } from "./reports.js";
import { progress, reports } from "./reports.js";

/** The maximum length of a build's last output in its error. */
const lastOutputChars = 1024;

/** The calls that build. */
export function imageBuilds(docker: DockerConnection) {
  return {
    buildImage: (requests, call) => buildImage(docker, requests, call),
  } satisfies Methods<typeof ImageService>;
}

/**
 * Builds an image: output and progress, then the result. dockerd holds back what it writes until it
 * has the whole context, and ends the build when the connection is closed.
 */
async function* buildImage(
  docker: DockerConnection,
  requests: AsyncIterable<BuildImageRequest>,
  { signal }: Call,
): AsyncGenerator<BuildImageResponse> {
  const incoming = requests[Symbol.asyncIterator]();
  const open = await readOpen(incoming);
  let lastOutput = "";
  const work = {
    resource: open.tags[0] ?? "an image",
    operation: { reasons: { 400: "BUILD_FAILED", 500: "BUILD_FAILED" }, registry: true },
    bytes: uploadBytes(incoming),
    failed: ({ errorDetail }, error) => buildError(error, errorDetail?.code, lastOutput),
  } as const satisfies Parameters<typeof reports>[2];
  let imageId = "";
  for await (const batch of reports(docker, buildRequest(open), work, signal)) {
    for (const { aux, stream = "" } of batch) {
      imageId = aux?.ID ?? imageId;
      lastOutput = (lastOutput + stream).slice(-lastOutputChars);
    }
    yield* responses(batch);
  }
  // Another client may have removed it already.
  const built = await undefinedIf("IMAGE_NOT_FOUND", inspectImage(docker, imageId, signal));
  const value = { imageId, tags: built?.RepoTags ?? [] };
  yield create(BuildImageResponseSchema, { event: { case: "result", value } });
}

/** Yields the responses for a batch in its order; adjacent reports of the same kind are in one message. */
function* responses(batch: readonly ReportJson[]): Generator<BuildImageResponse> {
  let at = 0;
  while (at < batch.length) {
    const writes = batch[at]?.stream !== undefined;
    let end = at;
    while (end < batch.length && (batch[end]?.stream !== undefined) === writes) end++;
    const group = batch.slice(at, end);
    at = end;
    if (writes) {
      const data = new Uint8Array(Buffer.from(group.map(({ stream }) => stream).join("")));
      yield create(BuildImageResponseSchema, { event: { case: "output", value: { data } } });
      continue;
    }
    const items = group.filter(({ status }) => status !== undefined).map(progress);
    if (items.length === 0) continue;
    yield create(BuildImageResponseSchema, { event: { case: "progress", value: { items } } });
  }
}

function buildRequest(open: BuildImageOpen): DockerRequest {
  return {
    method: "POST",
    path: "/build",
    query: {
      // The classic builder. BuildKit wants a session, which no single request gives it.
      version: 1,
      t: open.tags,
      dockerfile: open.dockerfile,
      buildargs: open.buildArguments,
      labels: open.labels,
      target: open.target,
      nocache: open.noCache,
      pull: open.pull ? 1 : undefined,
      platform: platformText(open),
      cachefrom: JSON.stringify(open.cacheFrom),
      networkmode: open.network,
      extrahosts: Object.entries(open.extraHosts).map(([name, address]) => `${name}:${address}`),
      memory: open.memoryLimitBytes?.toString(),
      shmsize: open.shmSizeBytes?.toString(),
      rm: !open.keepIntermediate,
      forcerm: !open.keepIntermediate,
    },
    registryConfig: registryConfig(open.registryCredentials),
  };
}

/** The names by which people know Docker Hub, and the one by which dockerd looks for it. */
const hubNames: ReadonlySet<string> = new Set(["docker.io", "index.docker.io"]);
const hubKey = "https://index.docker.io/v1/";

function registryConfig(credentials: Readonly<Record<string, RegistryCredentials>>): object {
  const entries = Object.entries(credentials);
  return Object.fromEntries(
    entries.map(([host, found]) => [hubNames.has(host) ? hubKey : host, registryAuth(found)]),
  );
}

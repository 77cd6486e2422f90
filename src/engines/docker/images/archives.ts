/** Images on Docker: the calls that bring them as archives, and take them out as such. */
import { create } from "@bufbuild/protobuf";
import type {
  ImageService,
  ImportImageOpen,
  ImportImageRequest,
  ImportImageResponse,
  LoadImagesRequest,
  LoadImagesResponse,
  SaveImagesRequest,
  SaveImagesResponse,
} from "../../../../gen/nap/v1/image_service_pb.js";
import {
  ImportImageResponseSchema,
  ImportImageResultSchema,
  LoadImagesResponseSchema,
  LoadImagesResultSchema,
  SaveImagesResponseSchema,
} from "../../../../gen/nap/v1/image_service_pb.js";
import { readOpen } from "../../../contract/open.js";
import type { Call, Methods } from "../../../core/engine.js";
import { NapError } from "../../../contract/errors.js";
import { parseReference } from "../../../core/images/reference.js";
import type { UploadProgress } from "../../../core/transfers/progress.js";
import { downloadEvents, withProgress } from "../../../core/transfers/progress.js";
import { uploadBytes } from "../../../core/uploads/upload.js";
import type { DockerConnection } from "../connection.js";
import { withDockerErrors } from "../errors.js";
import { inspectImage } from "./images.js";
import { platformJson, platformText } from "../../docker-http/platform.js";
import { progress, reports } from "./reports.js";

/** The calls that move archives. */
export function imageArchives(docker: DockerConnection) {
  return {
    saveImages: (request, call) => saveImages(docker, request, call),
    loadImages: (requests, call) => loadImages(docker, requests, call),
    importImage: (requests, call) => importImage(docker, requests, call),
  } satisfies Methods<typeof ImageService>;
}

/**
 * Saves images. Fails with IMAGE_NOT_FOUND before the first byte where one of them is missing, and
 * with ENGINE_ERROR where dockerd breaks off.
 */
async function* saveImages(
  docker: DockerConnection,
  request: SaveImagesRequest,
  { signal }: Call,
): AsyncGenerator<SaveImagesResponse> {
  // dockerd does not say which image is missing.
  for (const image of request.images) await inspectImage(docker, image, signal);
  const query = { names: request.images, platform: platformJson(request) };
  const call = docker.api.stream({ path: "/images/get", query }, signal);
  const operation = { reasons: { 404: "IMAGE_NOT_FOUND" }, field: "images" } as const;
  const source = await withDockerErrors(call, request.images.join(", "), operation);
  let last: Buffer | undefined;
  for await (const event of downloadEvents(docker.api.read(source, signal))) {
    if (event.case === "data") last = event.value;
    yield create(SaveImagesResponseSchema, { event });
  }
  // A tar archive ends with zeros. dockerd, once it writes, can tell of a failure only behind it.
  if (last?.at(-1) !== 0) {
    const engineMessage = last?.toString("latin1").slice(-512) ?? "";
    throw new NapError("ENGINE_ERROR", "Docker broke off the archive", { engineMessage });
  }
}

async function* loadImages(
  docker: DockerConnection,
  requests: AsyncIterable<LoadImagesRequest>,
  { signal }: Call,
): AsyncGenerator<LoadImagesResponse> {
  const incoming = requests[Symbol.asyncIterator]();
  await readOpen(incoming);
  const request = { method: "POST", path: "/images/load", query: { quiet: false } } as const;
  const operation = { reasons: { 400: "ARCHIVE_INVALID" } } as const;
  const load = async (upload: UploadProgress, combined: AbortSignal): Promise<string[]> => {
    const bytes = upload.counted(uploadBytes(incoming));
    const work = { resource: "the archive", operation, bytes };
    const images: string[] = [];
    for await (const batch of reports(docker, request, work, combined)) {
      for (const report of batch) {
        if (report.status !== undefined) upload.report(progress(report));
        const loaded = /^Loaded image(?: ID)?: (\S+)\n?$/.exec(report.stream ?? "")?.[1];
        if (loaded !== undefined) images.push(loaded);
      }
    }
    return images;
  };
  const respond = (event: LoadImagesResponse["event"]) =>
    create(LoadImagesResponseSchema, { event });
  const images = yield* withProgress(load, (value) => respond({ case: "progress", value }), signal);
  yield respond({ case: "result", value: create(LoadImagesResultSchema, { images }) });
}

async function* importImage(
  docker: DockerConnection,
  requests: AsyncIterable<ImportImageRequest>,
  { signal }: Call,
): AsyncGenerator<ImportImageResponse> {
  const incoming = requests[Symbol.asyncIterator]();
  const open = await readOpen(incoming);
  const resource = open.reference === "" ? "an image" : open.reference;
  const field = open.instructions.length > 0 ? "open.instructions" : "open.reference";
  const load = async (upload: UploadProgress, combined: AbortSignal): Promise<string> => {
    // dockerd makes an empty image of an empty archive, so the upload must have bytes.
    const bytes = upload.counted(uploadBytes(incoming));
    const work = { resource, operation: { field }, bytes };
    let imageId = "";
    for await (const batch of reports(docker, importRequest(open), work, combined)) {
      imageId = batch.at(-1)?.status ?? imageId;
    }
    return imageId;
  };
  const respond = (event: ImportImageResponse["event"]) =>
    create(ImportImageResponseSchema, { event });
  const imageId = yield* withProgress(
    load,
    (value) => respond({ case: "progress", value }),
    signal,
  );
  yield respond({ case: "result", value: create(ImportImageResultSchema, { imageId }) });
}

function importRequest(open: ImportImageOpen) {
  const { reference, message, instructions: changes } = open;
  const { name: repo, tag } = parseReference(reference);
  return {
    method: "POST",
    path: "/images/create",
    query: {
      fromSrc: "-",
      ...(reference !== "" && { repo, tag }),
      ...(message !== "" && { message }),
      changes,
      platform: platformText(open),
    },
  } as const;
}

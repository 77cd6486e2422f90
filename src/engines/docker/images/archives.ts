/** Images on Docker: the calls that bring them as archives, and take them out as such. */
import { create } from "@bufbuild/protobuf";
import type {
  ImageService,
  ImportImageOpen,
  LoadImagesRequest,
  SaveImagesRequest,
  SaveImagesResponse,
} from "../../../../gen/nap/v1/image_service_pb.js";
import {
  ImportImageResponseSchema,
  LoadImagesResponseSchema,
  SaveImagesResponseSchema,
} from "../../../../gen/nap/v1/image_service_pb.js";
import { readOpen } from "../../../contract/open.js";
import type { Call, Methods } from "../../../core/engine.js";
import { NapError } from "../../../contract/errors.js";
import { parseReference } from "../../../core/images/reference.js";
import { uploadBytes } from "../../../core/uploads/upload.js";
import type { DockerConnection } from "../connection.js";
import { meaning } from "../errors.js";
import { inspectImage } from "./images.js";
import { platformJson, platformText } from "../../docker-http/platform.js";
import { reports } from "./reports.js";

/** The calls that move archives. */
export function imageArchives(docker: DockerConnection) {
  return {
    saveImages: (request, call) => saveImages(docker, request, call),
    loadImages: (requests, call) => loadImages(docker, requests, call),

    importImage: async (requests, { signal }) => {
      const incoming = requests[Symbol.asyncIterator]();
      const open = await readOpen(incoming);
      const resource = open.reference === "" ? "an image" : open.reference;
      const field = open.instructions.length > 0 ? "open.instructions" : "open.reference";
      // dockerd makes an empty image of an empty archive, so the upload must have bytes.
      const work = { resource, operation: { field }, bytes: uploadBytes(incoming) };
      let imageId = "";
      for await (const batch of reports(docker, importRequest(open), work, signal)) {
        imageId = batch.at(-1)?.status ?? imageId;
      }
      return create(ImportImageResponseSchema, { imageId });
    },
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
  const operation = { kinds: { 404: "IMAGE_NOT_FOUND" }, field: "images" } as const;
  const source = await meaning(call, request.images.join(", "), operation);
  let last: Buffer | undefined;
  for await (const data of docker.api.read(source, signal)) {
    last = data;
    yield create(SaveImagesResponseSchema, { data: new Uint8Array(data) });
  }
  // A tar archive ends with zeros. dockerd, once it writes, can tell of a failure only behind it.
  if (last?.at(-1) !== 0) {
    const engineMessage = last?.toString("latin1").slice(-512) ?? "";
    throw new NapError("ENGINE_ERROR", "Docker broke off the archive", { engineMessage });
  }
}

async function loadImages(
  docker: DockerConnection,
  requests: AsyncIterable<LoadImagesRequest>,
  { signal }: Call,
): ReturnType<NonNullable<Methods<typeof ImageService>["loadImages"]>> {
  const incoming = requests[Symbol.asyncIterator]();
  await readOpen(incoming);
  const request = { method: "POST", path: "/images/load", query: { quiet: false } } as const;
  const operation = { kinds: { 400: "ARCHIVE_INVALID" } } as const;
  const work = { resource: "the archive", operation, bytes: uploadBytes(incoming) };
  const images: string[] = [];
  for await (const batch of reports(docker, request, work, signal)) {
    for (const { stream = "" } of batch) {
      const loaded = /^Loaded image(?: ID)?: (\S+)\n?$/.exec(stream)?.[1];
      if (loaded !== undefined) images.push(loaded);
    }
  }
  return create(LoadImagesResponseSchema, { images });
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

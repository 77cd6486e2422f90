/** Images on Docker as archives: those that SaveImages writes and LoadImages reads. */
import { Readable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import type {
  ImageService,
  LoadImagesRequest,
  SaveImagesRequest,
  SaveImagesResponse,
} from "../../../gen/nap/v1/image_service_pb.js";
import {
  LoadImagesResponseSchema,
  SaveImagesResponseSchema,
} from "../../../gen/nap/v1/image_service_pb.js";
import type { Call, Methods } from "../../engine/engine.js";
import { NapError } from "../../engine/error.js";
import { parseReference, referenceText } from "../../engine/reference.js";
import { parseAnswer } from "./answer.js";
import { DockerStatusError } from "./api.js";
import type { DockerConnection } from "./connection.js";
import { dockerError, meaning } from "./errors.js";
import { inspectImage } from "./images.js";
import { lineBatches } from "./lines.js";

/** A tar archive ends with as many zero bytes. */
const tarEndBytes = 1024;

/** The calls that move images as archives. */
export function imageArchives(docker: DockerConnection) {
  return {
    saveImages: (request, call) => saveImages(docker, request, call),
    loadImages: (requests, call) => loadImages(docker, requests, call),
  } satisfies Methods<typeof ImageService>;
}

async function* saveImages(
  docker: DockerConnection,
  { images }: SaveImagesRequest,
  { signal }: Call,
): AsyncGenerator<SaveImagesResponse> {
  const names: string[] = [];
  for (const image of images) names.push(await nameToSave(docker, image, signal));
  const what = images.join(", ");
  const call = docker.api.stream({ path: "/images/get", query: { names } }, signal);
  const kinds = { 404: "IMAGE_NOT_FOUND" } as const;
  const source = await meaning(call, what, { kinds, field: "images" });
  let end: Buffer = Buffer.alloc(0);
  for await (const data of docker.api.read(source, signal)) {
    end = Buffer.concat([end, data.subarray(-tarEndBytes)]).subarray(-tarEndBytes);
    yield create(SaveImagesResponseSchema, { data: new Uint8Array(data) });
  }
  // Once bytes are out, dockerd has no status left to say that it failed, and writes why behind them.
  if (!end.equals(Buffer.alloc(tarEndBytes))) {
    throw new NapError("ENGINE_ERROR", `Docker broke off the archive of ${what}`);
  }
}

/** dockerd saves all tags of a name that has none; here such a name means the tag "latest". */
async function nameToSave(
  docker: DockerConnection,
  image: string,
  signal: AbortSignal,
): Promise<string> {
  const { Id } = await inspectImage(docker, image, signal);
  if (Id.startsWith(image) || Id.startsWith(`sha256:${image}`)) return image;
  return referenceText(parseReference(image));
}

/** One line of what dockerd says while it loads. */
interface LoadJson {
  readonly stream?: string;
  readonly error?: string;
}

async function loadImages(
  docker: DockerConnection,
  requests: AsyncIterable<LoadImagesRequest>,
  { signal }: Call,
): ReturnType<NonNullable<Methods<typeof ImageService>["loadImages"]>> {
  // dockerd takes the whole archive in before it loads any of it, so one that breaks off loads nothing.
  const upload = Readable.from(bytesOf(requests), { objectMode: false });
  const images: string[] = [];
  try {
    const request = {
      method: "POST",
      path: "/images/load",
      query: { quiet: true },
      upload,
    } as const;
    const source = await meaning(docker.api.stream(request, signal), "the archive", {});
    for await (const lines of lineBatches(docker.api.read(source, signal))) {
      for (const line of lines) {
        const { stream = "", error } = parseAnswer<LoadJson>(line);
        if (error !== undefined) {
          throw dockerError(new DockerStatusError(500, error), "the archive", {});
        }
        const loaded = /^Loaded image(?: ID)?: (\S+)/.exec(stream)?.[1];
        if (loaded !== undefined) images.push(loaded);
      }
    }
  } catch (error) {
    // What the client sent wrong comes back through the connection that it broke.
    throw upload.errored ?? error;
  } finally {
    upload.destroy();
  }
  if (images.length === 0) throw new NapError("ARCHIVE_INVALID", "the archive has no image");
  return create(LoadImagesResponseSchema, { images });
}

async function* bytesOf(requests: AsyncIterable<LoadImagesRequest>): AsyncGenerator<Uint8Array> {
  let empty = true;
  for await (const { data } of requests) {
    if (data.length === 0) continue;
    empty = false;
    yield data;
  }
  if (empty) throw new NapError("ARCHIVE_INVALID", "the archive is empty");
}

/** Images on Docker: the calls that move them. */
import { Readable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import type {
  ImageService,
  ImportImageOpen,
  ImportImageRequest,
  PullImageRequest,
  PullImageResponse,
  PushImageRequest,
  PushImageResponse,
} from "../../../gen/nap/v1/image_service_pb.js";
import {
  ImportImageResponseSchema,
  PullImageResponseSchema,
  PushImageResponseSchema,
  TransferResultSchema,
} from "../../../gen/nap/v1/image_service_pb.js";
import type { RegistryCredentials, TransferProgress } from "../../../gen/nap/v1/types_pb.js";
import { TransferProgressSchema } from "../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../engine/engine.js";
import { fieldError, unless } from "../../engine/error.js";
import { importBytes, importOpen } from "../../engine/upload.js";
import { parseAnswer } from "./answer.js";
import { DockerStatusError, pathPart } from "./api.js";
import type { DockerConnection } from "./connection.js";
import { dockerError, meaning } from "./errors.js";
import { inspectImage } from "./images.js";
import { lineBatches } from "./lines.js";
import { parseReference, referenceText } from "../../engine/reference.js";

/** The calls that move images. */
export function imageTransfers(docker: DockerConnection) {
  return {
    pullImage: (request, call) => pullImage(docker, request, call),
    pushImage: (request, call) => pushImage(docker, request, call),
    importImage: (requests, call) => importImage(docker, requests, call),
  } satisfies Methods<typeof ImageService>;
}

/** One line of a transfer's progress. */
interface ProgressJson {
  readonly status?: string;
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly error?: string;
  /** The last line of a push. */
  readonly aux?: { readonly Digest?: string };
}

/** Pulls an image: progress, then the result. Fails as PullImage does. */
export async function* pullImage(
  docker: DockerConnection,
  request: PullImageRequest,
  { signal }: Call,
): AsyncGenerator<PullImageResponse> {
  const reference = parseReference(request.image);
  const image = referenceText(reference);
  const { registryCredentials: credentials } = request;
  const before = await unless("IMAGE_NOT_FOUND", inspectImage(docker, image, signal));
  const call = docker.api.stream(
    {
      method: "POST",
      path: "/images/create",
      query: { fromImage: reference.name, tag: reference.tag, platform: platformText(request) },
      registryAuth: credentials && registryAuth(credentials),
    },
    signal,
  );
  const operation = { kinds: { 404: "IMAGE_NOT_FOUND" }, field: "image", registry: true } as const;
  const source = await meaning(call, image, operation);
  let digest = "";
  for await (const lines of lineBatches(docker.api.read(source, signal))) {
    const reports = lines.map((line) => parseAnswer<ProgressJson>(line));
    // Once the first line is out, dockerd has no status left to say that it failed.
    const failure = reports.find(({ error }) => error !== undefined)?.error;
    if (failure !== undefined) {
      throw dockerError(new DockerStatusError(500, failure), image, operation);
    }
    for (const { status = "" } of reports) digest = /^Digest: (\S+)$/.exec(status)?.[1] ?? digest;
    const items = reports.map(progress);
    yield create(PullImageResponseSchema, { event: { case: "progress", value: { items } } });
  }
  const { Id: imageIdNow } = await inspectImage(docker, image, signal);
  const changed = imageIdNow !== before?.Id;
  const value = create(TransferResultSchema, { image, imageId: imageIdNow, digest, changed });
  yield create(PullImageResponseSchema, { event: { case: "result", value } });
}

async function* pushImage(
  docker: DockerConnection,
  request: PushImageRequest,
  { signal }: Call,
): AsyncGenerator<PushImageResponse> {
  const { name, tag, separator } = parseReference(request.image);
  if (separator === "@") {
    const description = "is a digest, and a registry takes tags";
    throw fieldError([{ field: "image", description, kind: "FIELD_INVALID" }]);
  }
  const image = `${name}:${tag}`;
  // dockerd says in words alone, behind a status of 200, that it does not have the image.
  const { Id: imageId } = await inspectImage(docker, image, signal);
  const { registryCredentials: credentials } = request;
  const operation = { kinds: { 404: "IMAGE_NOT_FOUND" }, field: "image", registry: true } as const;
  const call = docker.api.stream(
    {
      method: "POST",
      path: `/images/${pathPart(name)}/push`,
      query: { tag },
      // Without this header dockerd looks for credentials in the body, and refuses one without.
      registryAuth: credentials === undefined ? {} : registryAuth(credentials),
    },
    signal,
  );
  const source = await meaning(call, image, operation);
  let digest = "";
  for await (const lines of lineBatches(docker.api.read(source, signal))) {
    const reports = lines.map((line) => parseAnswer<ProgressJson>(line));
    const failure = reports.find(({ error }) => error !== undefined)?.error;
    if (failure !== undefined) {
      throw dockerError(new DockerStatusError(500, failure), image, operation);
    }
    for (const { aux } of reports) digest = aux?.Digest ?? digest;
    const items = reports.filter(({ aux }) => aux === undefined).map(progress);
    if (items.length === 0) continue;
    yield create(PushImageResponseSchema, { event: { case: "progress", value: { items } } });
  }
  const value = create(TransferResultSchema, { image, imageId, digest });
  yield create(PushImageResponseSchema, { event: { case: "result", value } });
}

function progress({ status = "", id = "", progressDetail = {} }: ProgressJson): TransferProgress {
  const { current, total } = progressDetail;
  return create(TransferProgressSchema, {
    part: id,
    phase: status,
    ...(current !== undefined && { currentBytes: BigInt(current) }),
    ...(total !== undefined && total > 0 && { totalBytes: BigInt(total) }),
  });
}

/** A platform as dockerd takes it. */
export function platformText({ platform }: Pick<PullImageRequest, "platform">): string | undefined {
  if (platform === undefined) return undefined;
  if (platform.variant !== undefined && platform.architecture === undefined) {
    const description = "a variant needs its architecture";
    throw fieldError([{ field: "platform.variant", description, kind: "FIELD_INVALID" }]);
  }
  const parts = [platform.os ?? "linux", platform.architecture, platform.variant];
  return parts.filter((part) => part !== undefined).join("/");
}

function registryAuth({ kind, serverAddress }: RegistryCredentials): object {
  const address = serverAddress === undefined ? {} : { serveraddress: serverAddress };
  switch (kind.case) {
    case "login":
      return { username: kind.value.username, password: kind.value.password, ...address };
    case "identityToken":
      return { identitytoken: kind.value, ...address };
    default:
      return { registrytoken: kind.value, ...address };
  }
}

async function importImage(
  docker: DockerConnection,
  requests: AsyncIterable<ImportImageRequest>,
  { signal }: Call,
): ReturnType<NonNullable<Methods<typeof ImageService>["importImage"]>> {
  const incoming = requests[Symbol.asyncIterator]();
  const open = await importOpen(incoming);
  // dockerd makes an empty image of an empty archive, so the upload must have bytes.
  const upload = Readable.from(importBytes(incoming), { objectMode: false });
  try {
    const call = docker.api.stream({ ...importQuery(open), upload }, signal);
    const what = open.reference === "" ? "an image" : open.reference;
    const field = open.instructions.length > 0 ? "open.instructions" : "open.reference";
    const source = await meaning(call, what, { field });
    const lines = (await docker.api.text(source, signal)).trim().split("\n");
    const { status: imageIdMade = "", error } = parseAnswer<ProgressJson>(lines.at(-1) ?? "");
    if (error !== undefined) throw dockerError(new DockerStatusError(500, error), what, { field });
    return create(ImportImageResponseSchema, { imageId: imageIdMade });
  } catch (error) {
    // What the client sent wrong comes back through the connection that it broke.
    throw upload.errored ?? error;
  } finally {
    upload.destroy();
  }
}

function importQuery(open: ImportImageOpen) {
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

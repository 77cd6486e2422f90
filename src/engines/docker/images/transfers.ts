/** Images on Docker: the calls that exchange them with a registry. */
import { create } from "@bufbuild/protobuf";
import type {
  ImageService,
  PullImageRequest,
  PullImageResponse,
  PushImageRequest,
  PushImageResponse,
} from "../../../../gen/nap/v1/image_service_pb.js";
import {
  PullImageResponseSchema,
  PushImageResponseSchema,
  TransferResultSchema,
} from "../../../../gen/nap/v1/image_service_pb.js";
import type { RegistryCredentials } from "../../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../../core/engine.js";
import { fieldError, undefinedIf } from "../../../contract/errors.js";
import { isRegistryOf, parseReference, referenceText } from "../../../core/images/reference.js";
import { pathPart } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { inspectImage } from "./images.js";
import { platformJson, platformText } from "../../docker-http/platform.js";
import { progress, reports } from "./reports.js";

/** The calls that speak with a registry. */
export function imageTransfers(docker: DockerConnection) {
  return {
    pullImage: (request, call) => pullImage(docker, request, call),
    pushImage: (request, call) => pushImage(docker, request, call),
  } satisfies Methods<typeof ImageService>;
}

const withRegistry = {
  reasons: { 404: "IMAGE_NOT_FOUND" },
  field: "image",
  registry: true,
} as const;

/** Pulls an image: progress, then the result. Fails as PullImage does. */
export async function* pullImage(
  docker: DockerConnection,
  request: PullImageRequest,
  { signal }: Call,
): AsyncGenerator<PullImageResponse> {
  const reference = parseReference(request.image);
  const image = referenceText(reference);
  const { registryCredentials: credentials } = request;
  requireOwnRegistry(request.image, credentials);
  const before = await undefinedIf("IMAGE_NOT_FOUND", inspectImage(docker, image, signal));
  const pull = {
    method: "POST",
    path: "/images/create",
    query: { fromImage: reference.name, tag: reference.tag, platform: platformText(request) },
    registryAuth: credentials && registryAuth(credentials),
  } as const;
  const work = { resource: image, operation: withRegistry };
  let digest = "";
  for await (const batch of reports(docker, pull, work, signal)) {
    for (const { status = "" } of batch) digest = /^Digest: (\S+)$/.exec(status)?.[1] ?? digest;
    const items = batch.map(progress);
    yield create(PullImageResponseSchema, { event: { case: "progress", value: { items } } });
  }
  const { Id: imageIdNow } = await inspectImage(docker, image, signal);
  const changed = imageIdNow !== before?.Id;
  const value = create(TransferResultSchema, { image, imageId: imageIdNow, digest, changed });
  yield create(PullImageResponseSchema, { event: { case: "result", value } });
}

/** Pushes an image: progress, then the result. Fails as PushImage does. */
async function* pushImage(
  docker: DockerConnection,
  request: PushImageRequest,
  { signal }: Call,
): AsyncGenerator<PushImageResponse> {
  const reference = parseReference(request.image);
  if (reference.separator === "@") {
    const description = "a push is named by a tag, not by a digest";
    throw fieldError([{ field: "image", description, reason: "FIELD_INVALID" }]);
  }
  const image = referenceText(reference);
  const { registryCredentials: credentials } = request;
  requireOwnRegistry(image, credentials);
  // dockerd says of an image that is not there only that its registry has no such tag here.
  const { Id: imageId } = await inspectImage(docker, request.image, signal);
  const push = {
    method: "POST",
    path: `/images/${pathPart(reference.name)}/push`,
    query: { tag: reference.tag, platform: platformJson(request) },
    // dockerd wants the header also where there are no credentials.
    registryAuth: credentials === undefined ? {} : registryAuth(credentials),
  } as const;
  const work = { resource: image, operation: withRegistry };
  let digest = "";
  for await (const batch of reports(docker, push, work, signal)) {
    for (const { aux } of batch) digest = aux?.Digest ?? digest;
    const items = batch.filter(({ status }) => status !== undefined).map(progress);
    if (items.length === 0) continue;
    yield create(PushImageResponseSchema, { event: { case: "progress", value: { items } } });
  }
  const value = create(TransferResultSchema, { image, imageId, digest, changed: false });
  yield create(PushImageResponseSchema, { event: { case: "result", value } });
}

/** dockerd sends credentials to the registry of the image, whichever they are for. */
export function requireOwnRegistry(image: string, credentials?: RegistryCredentials): void {
  const address = credentials?.serverAddress;
  if (address === undefined || isRegistryOf(image, address)) return;
  const field = "registry_credentials.server_address";
  const description = `is not the registry of ${image}`;
  throw fieldError([{ field, description, reason: "FIELD_INVALID" }]);
}

/** Returns credentials for one registry, in dockerd's request format. */
export function registryAuth({ kind, serverAddress }: RegistryCredentials): object {
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

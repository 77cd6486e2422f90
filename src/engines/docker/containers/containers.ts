/** Containers on Docker: creating, showing and removing them. */
import { clone, create } from "@bufbuild/protobuf";
import type {
  Container,
  CreateContainerRequest,
  CreateContainerRequestSchema,
  ListContainersRequest,
  RunContainerRequest,
  RunContainerRequestSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerSchema,
  CreateContainerRequestSchema as createSchema,
  CreateContainerResponseSchema,
  GetContainerResponseSchema,
  ListContainersResponseSchema,
  RemoveContainerResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { ContainerService } from "../../../../gen/nap/v1/container_service_pb.js";
import type { PullImageResponse } from "../../../../gen/nap/v1/image_service_pb.js";
import { PullImageRequestSchema } from "../../../../gen/nap/v1/image_service_pb.js";
import { ContainerSpecSchema } from "../../../../gen/nap/v1/container_spec_pb.js";
import type { ContainerSpec } from "../../../../gen/nap/v1/container_spec_pb.js";
import { ArgumentListSchema, ListView } from "../../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../../core/engine.js";
import { imageOf } from "../../../contract/container-source.js";
import { fieldError, undefinedIf } from "../../../contract/errors.js";
import {
  matchesRequest,
  provenanceLabels,
  requestIdFilter,
} from "../../../contract/reserved-labels.js";
import { newestFirst, pageOf } from "../../../core/lists/page.js";
import { mapInParallel } from "../../../lib/parallel.js";
import { pullBegins } from "../../../core/images/pull.js";
import { containerMatchesByItself } from "../../../core/lists/filters.js";
import { resolveBindRoots } from "../../../core/mounts/rooted-mounts.js";
import { pathPart } from "../../docker-http/client.js";
import {
  containerFromDocker,
  containerFromSummary,
} from "../../docker-http/convert/container/container.js";
import {
  specFromDocker,
  specToDocker,
} from "../../docker-http/convert/container/container-spec.js";
import { endpointToDocker } from "../../docker-http/convert/container/endpoints.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer, named, selectContainers } from "./reads.js";
import { hasStatus, mapDockerError, withDockerErrors } from "../errors.js";
import { pullImage, requireOwnRegistry } from "../images/transfers.js";
import { platformText } from "../../docker-http/platform.js";
import { inspectImage } from "../images/images.js";
import type {
  ContainerJson,
  ContainerSummaryJson,
  ImageJson,
  NetworkJson,
} from "../../docker-http/json.js";
import { assertNoneDropped } from "../read-back.js";

/** The calls that create, show and remove containers. */
export function containerMethods(docker: DockerConnection) {
  return {
    createContainer: async (request, call) => {
      const { signal } = call;
      for await (const _progress of pullFirst(docker, request, createSchema, call));
      const made = await createContainer(docker, request, createSchema, call);
      const { json, warnings, existed } = made;
      if (signal.aborted && request.requestId === "" && !existed) {
        await rollbackCreate(docker, json.Id);
        throw signal.reason;
      }
      const container = containerFromDocker(docker.name, json);
      return create(CreateContainerResponseSchema, { container, warnings });
    },

    getContainer: async (request, { signal }) => {
      const query = { size: request.includeSize };
      const json = await inspectContainer(docker, request.container, signal, query);
      const container = containerFromDocker(docker.name, json);
      return create(GetContainerResponseSchema, { container });
    },

    listContainers: async (request, { signal }) => {
      const list = await selectContainers(docker, request.filter, true, signal);
      const { items, nextPageToken } = await pageOf(list, request, {
        key: ({ Created, Id }) => newestFirst(Created, Id),
        load: (page) => loadContainers(docker, page, request, signal),
        schema: ContainerSchema,
      });
      return create(ListContainersResponseSchema, { containers: items, nextPageToken });
    },

    removeContainer: async ({ container, force, removeVolumes }) => {
      const path = `/containers/${pathPart(container)}`;
      const query = { force, v: removeVolumes };
      try {
        await docker.api.json({ method: "DELETE", path, query });
      } catch (error) {
        // 409 is both "it runs", never with force, and "it is being removed already".
        const isRunning = async () => (await inspectContainer(docker, container)).State.Running;
        const refused = hasStatus(error, 409) && !force && (await isRunning());
        const reason = refused ? "CONTAINER_RUNNING" : "OPERATION_IN_PROGRESS";
        throw mapDockerError(error, container, {
          reasons: { ...named.reasons, 409: reason },
        });
      }
      return create(RemoveContainerResponseSchema);
    },
  } satisfies Methods<typeof ContainerService>;
}

/** A container just made, or made before by a request with the same request_id. */
export interface CreatedContainer {
  readonly json: ContainerJson;
  readonly warnings: string[];
  readonly existed: boolean;
}

/** Creates a container, or finds the one that the same request made before. */
export async function createContainer(
  docker: DockerConnection,
  request: CreateContainerRequest | RunContainerRequest,
  schema: typeof CreateContainerRequestSchema | typeof RunContainerRequestSchema,
  call: Call,
): Promise<CreatedContainer> {
  const { requestId } = request;
  if (requestId === "") return createNew(docker, request, schema, call);
  return docker.withLock(`container ${requestId}`, async () => {
    const made = await findByRequestId(docker, request, schema, call);
    if (made !== undefined) {
      return { json: await inspectContainer(docker, made.Id), warnings: [], existed: true };
    }
    return createNew(docker, request, schema, call);
  });
}

/** Returns the container that the same request created before. */
async function findByRequestId(
  docker: DockerConnection,
  request: CreateContainerRequest | RunContainerRequest,
  schema: typeof CreateContainerRequestSchema | typeof RunContainerRequestSchema,
  { identity }: Call,
): Promise<ContainerSummaryJson | undefined> {
  const query = { all: true, filters: { label: [requestIdFilter(request.requestId)] } };
  const list = await docker.api.json<ContainerSummaryJson[]>({ path: "/containers/json", query });
  return list.body.find(({ Labels }) => matchesRequest(schema, request, identity, Labels ?? {}));
}

/**
 * Pulls the image of a container that is to be created, as the request's policy says. A repeated request
 * no longer needs the image.
 */
export async function* pullFirst(
  docker: DockerConnection,
  request: CreateContainerRequest | RunContainerRequest,
  schema: typeof CreateContainerRequestSchema | typeof RunContainerRequestSchema,
  call: Call,
): AsyncGenerator<PullImageResponse> {
  const { spec = create(ContainerSpecSchema), pullPolicy, registryCredentials } = request;
  const { platform } = spec;
  const image = imageOf(spec);
  requireOwnRegistry(image, registryCredentials);
  const isPresent = async (): Promise<boolean> => {
    const found = await undefinedIf("IMAGE_NOT_FOUND", inspectImage(docker, image, call.signal));
    if (found !== undefined || request.requestId === "") return found !== undefined;
    return (await findByRequestId(docker, request, schema, call)) !== undefined;
  };
  if (!(await pullBegins(pullPolicy, image, call.identity, isPresent))) return;
  const pull = create(PullImageRequestSchema, { image, platform, registryCredentials });
  yield* pullImage(docker, pull, call);
}

async function createNew(
  docker: DockerConnection,
  request: CreateContainerRequest | RunContainerRequest,
  schema: typeof CreateContainerRequestSchema | typeof RunContainerRequestSchema,
  { identity }: Call,
): Promise<CreatedContainer> {
  const { name, spec: given = create(ContainerSpecSchema) } = request;
  const spec = await withNetworkNames(docker, given);
  const image = imageOf(spec);
  const placed = await resolveBindRoots(docker.bindRoots, spec, identity.name);
  const { body, further } = specToDocker(
    await withResetCommand(docker, placed.spec),
    { ...placed.ownLabels, ...provenanceLabels(schema, request, identity) },
    docker.apiVersion,
  );
  const created = await withDockerErrors(
    docker.api.json<{ Id: string; Warnings: string[] | null }>({
      method: "POST",
      path: "/containers/create",
      query: { name: name === "" ? undefined : name, platform: platformText(spec) },
      body,
    }),
    name === "" ? `a container of ${image}` : name,
    {
      reasons: { 404: "IMAGE_NOT_FOUND", 409: "NAME_IN_USE" },
      resources: { IMAGE_NOT_FOUND: image },
      field: "spec",
    },
  );
  const id = created.body.Id;
  const warnings = created.body.Warnings ?? [];
  try {
    for (const { network, endpoint } of further) {
      await connectNetwork(docker, network, id, endpointToDocker(endpoint));
    }
    const json = await inspectContainer(docker, id);
    // dockerd continues without options that it cannot apply, and silently drops fields that its API
    // version lacks.
    assertNoneDropped({
      resource: json.Name.replace(/^\//, ""),
      warnings,
      root: "spec",
      parts: [
        { path: "spec", desc: ContainerSpecSchema, wanted: placed.spec, got: specFromDocker(json) },
      ],
    });
    return { json, warnings, existed: false };
  } catch (error) {
    await rollbackCreate(docker, id);
    throw error;
  }
}

/** Removes a container that was just created, with its anonymous volumes. */
async function rollbackCreate(docker: DockerConnection, id: string): Promise<void> {
  await docker.api.json({ method: "DELETE", path: `/containers/${id}`, query: { v: true } });
}

/**
 * The spec with every network by its name. dockerd finds out only at the start that one is missing, and
 * takes one that is named twice, once by its id, for two.
 */
async function withNetworkNames(
  docker: DockerConnection,
  spec: ContainerSpec,
): Promise<ContainerSpec> {
  if (spec.networks.length === 0) return spec;
  const resolved = clone(ContainerSpecSchema, spec);
  // Networks say so, too, and dockerd reports them alone.
  if (resolved.namespaces?.network?.mode.case === "isolated") delete resolved.namespaces.network;
  const seen = new Set<string>();
  for (const [index, item] of resolved.networks.entries()) {
    const call = docker.api.json<NetworkJson>({ path: `/networks/${pathPart(item.network)}` });
    const reasons = { 404: "NETWORK_NOT_FOUND" } as const;
    const { Name, Id } = (await withDockerErrors(call, item.network, { reasons })).body;
    const at = `spec.networks[${index}]`;
    // Each is a namespace in the contract, and the host's needs another permission.
    if (Name === "host" || Name === "none") {
      const instead =
        Name === "host"
          ? "spec.namespaces.network.host"
          : "spec.namespaces.network.isolated without networks";
      refuseField(`${at}.network`, `a container is not attached to ${Name}: say ${instead}`);
    }
    if (seen.has(Id)) refuseField(`${at}.network`, `the network ${Name} is there already`);
    if (Name === "bridge" && (item.endpoint?.aliases.length ?? 0) > 0) {
      refuseField(`${at}.endpoint.aliases`, "Docker's default bridge resolves no names");
    }
    seen.add(Id);
    item.network = Name;
  }
  return resolved;
}

function refuseField(field: string, description: string): never {
  throw fieldError([{ field, description, reason: "FIELD_INVALID" }]);
}

async function connectNetwork(
  docker: DockerConnection,
  network: string,
  Container: string,
  EndpointConfig: object,
): Promise<void> {
  const path = `/networks/${pathPart(network)}/connect`;
  const body = { Container, EndpointConfig };
  const call = docker.api.json({ method: "POST", path, body });
  await withDockerErrors(call, network, { reasons: { 404: "NETWORK_NOT_FOUND" }, field: "spec" });
}

/**
 * dockerd takes an empty command for an unset one unless an entrypoint is given with it. To reset the
 * image's command alone, the image's own entrypoint is given.
 */
async function withResetCommand(
  docker: DockerConnection,
  spec: ContainerSpec,
): Promise<ContainerSpec> {
  if (spec.command?.arguments.length !== 0 || spec.entrypoint !== undefined) return spec;
  const reference = imageOf(spec);
  const path = `/images/${pathPart(reference)}/json`;
  const reasons = { 404: "IMAGE_NOT_FOUND" } as const;
  const image = await withDockerErrors(docker.api.json<ImageJson>({ path }), reference, {
    reasons,
  });
  const words = image.body.Config?.Entrypoint ?? [];
  return { ...spec, entrypoint: create(ArgumentListSchema, { arguments: words }) };
}

async function loadContainers(
  docker: DockerConnection,
  page: readonly ContainerSummaryJson[],
  { view, filter }: ListContainersRequest,
  signal: AbortSignal,
): Promise<(Container | undefined)[]> {
  if (view !== ListView.FULL) return page.map((json) => containerFromSummary(docker.name, json));
  return mapInParallel(page, async ({ Id }) => {
    const json = await undefinedIf("CONTAINER_NOT_FOUND", inspectContainer(docker, Id, signal));
    const container = json && containerFromDocker(docker.name, json);
    // It may have changed since it was listed.
    return container && containerMatchesByItself(container, filter) ? container : undefined;
  });
}

/** Networks on Docker. */
import { create } from "@bufbuild/protobuf";
import type {
  CreateNetworkRequest,
  Network,
  NetworkFilter,
  NetworkService,
} from "../../../gen/nap/v1/network_service_pb.js";
import {
  ConnectContainerResponseSchema,
  CreateNetworkRequestSchema,
  CreateNetworkResponseSchema,
  DisconnectContainerResponseSchema,
  GetNetworkResponseSchema,
  ListNetworksResponseSchema,
  NetworkSchema,
  NetworkSpecSchema,
  PruneNetworksResponseSchema,
  RemoveNetworkResponseSchema,
} from "../../../gen/nap/v1/network_service_pb.js";
import { ListView } from "../../../gen/nap/v1/types_pb.js";
import type { Methods } from "../../core/engine.js";
import { NapError, undefinedIf } from "../../contract/errors.js";
import type { Identity } from "../../auth/identity.js";
import {
  matchesRequest,
  provenanceLabels,
  requestIdFilter,
} from "../../contract/reserved-labels.js";
import { networkMatches } from "../../core/lists/filters.js";
import { pageOf } from "../../core/lists/page.js";
import { mapInParallel } from "../../lib/parallel.js";
import { pathPart } from "../docker-http/client.js";
import type { DockerConnection } from "./connection.js";
import { endpointToDocker } from "../docker-http/convert/container/endpoints.js";
import { networkFromDocker, networkSpecToDocker } from "../docker-http/convert/network-spec.js";
import { scopes } from "../docker-http/convert/scopes.js";
import { hasStatus, isNotAttached, mapDockerError, withDockerErrors } from "./errors.js";
import type { Filters } from "./filters.js";
import { filters, labelWords, pruneFilters } from "./filters.js";
import type { NetworkJson } from "../docker-http/json.js";
import { prune } from "./prune.js";
import { assertNoneDropped } from "./read-back.js";
import { usersOf } from "./users.js";

const named = { reasons: { 404: "NETWORK_NOT_FOUND" } } as const;
/** The networks that every dockerd has. */
const builtIn = new Set(["bridge", "host", "none"]);

/** The calls on networks. */
export function networkMethods(docker: DockerConnection) {
  return {
    createNetwork: (request, { signal, identity }) =>
      docker.withLock(`network ${request.requestId || request.name}`, async () => {
        const before = await findByRequestId(docker, request, identity);
        if (before !== undefined) {
          const network = networkFromDocker(docker.name, before);
          return create(CreateNetworkResponseSchema, { network });
        }
        const own = provenanceLabels(CreateNetworkRequestSchema, request, identity);
        // Without the check dockerd before 25 makes a second network under one name.
        const body = {
          Name: request.name,
          CheckDuplicate: true,
          ...networkSpecToDocker(request.spec, own),
        };
        const call = docker.api.json<{ Id: string; Warning: string }>({
          method: "POST",
          path: "/networks/create",
          body,
        });
        const reasons = { 404: "NETWORK_DRIVER_NOT_FOUND", 409: "NAME_IN_USE" } as const;
        const { Id, Warning } = (
          await withDockerErrors(call, request.name, { reasons, field: "spec" })
        ).body;
        if (signal.aborted && request.requestId === "") {
          await docker.api.json({ method: "DELETE", path: `/networks/${Id}` });
          throw signal.reason;
        }
        const network = networkFromDocker(docker.name, await getNetwork(docker, Id));
        const warnings = Warning === "" ? [] : [Warning];
        try {
          const { spec: wanted } = request;
          const part = { path: "spec", desc: NetworkSpecSchema, wanted, got: network.spec };
          assertNoneDropped({ resource: request.name, warnings, root: "spec", parts: [part] });
        } catch (error) {
          await docker.api.json({ method: "DELETE", path: `/networks/${Id}` });
          throw error;
        }
        return create(CreateNetworkResponseSchema, { network, warnings });
      }),

    getNetwork: async (request, { signal }) => {
      const json = await getNetwork(docker, request.network, signal);
      return create(GetNetworkResponseSchema, { network: networkFromDocker(docker.name, json) });
    },

    listNetworks: async (request, { signal }) => {
      const query = { filters: networkFilters(request.filter) };
      const { body } = await docker.api.json<NetworkJson[]>({ path: "/networks", query }, signal);
      // dockerd takes parts of names and ids, and does not know all fields of the filter.
      const matching = body.filter((json) =>
        networkMatches(networkFromDocker(docker.name, json), request.filter),
      );
      const selected = await selectByUse(docker, matching, request.filter?.unused, signal);
      const { items, nextPageToken } = await pageOf(selected, request, {
        key: ({ Name, Id }) => `${Name} ${Id}`,
        load: (page) =>
          mapInParallel(page, (json) => loadNetwork(docker, json, request.view, signal)),
        schema: NetworkSchema,
      });
      return create(ListNetworksResponseSchema, { networks: items, nextPageToken });
    },

    removeNetwork: async ({ network: name }) => {
      const path = `/networks/${pathPart(name)}`;
      try {
        await docker.api.json({ method: "DELETE", path });
      } catch (error) {
        // 403 is both "containers are attached" and "it belongs to dockerd".
        if (!hasStatus(error, 403)) throw mapDockerError(error, name, named);
        const { Id, Name } = await getNetwork(docker, name);
        if (builtIn.has(Name)) {
          const message = `network ${Name} belongs to the engine`;
          throw new NapError("NETWORK_BUILT_IN", message, { resource: name }, error);
        }
        const users = await usersOf(docker, "network", Id);
        const message = `network ${Name} is used by ${users.join(", ")}`;
        throw new NapError("RESOURCE_IN_USE", message, { resource: name, users }, error);
      }
      return create(RemoveNetworkResponseSchema);
    },

    pruneNetworks: async (request) => {
      const filters = pruneFilters(request.filter);
      const body = await prune<{ NetworksDeleted: string[] | null }>(docker, "networks", filters);
      return create(PruneNetworksResponseSchema, { networkNames: body.NetworksDeleted ?? [] });
    },

    connectContainer: async ({ container, network, endpoint }) => {
      const body = { Container: container, EndpointConfig: endpointToDocker(endpoint) };
      const path = `/networks/${pathPart(network)}/connect`;
      const call = docker.api.json({ method: "POST", path, body });
      await withDockerErrors(call, network, {
        ...named,
        resources: { CONTAINER_NOT_FOUND: container, ENDPOINT_EXISTS: container },
        field: "endpoint",
      });
      return create(ConnectContainerResponseSchema);
    },

    disconnectContainer: async ({ container, network, force }) => {
      const path = `/networks/${pathPart(network)}/disconnect`;
      const body = { Container: container, Force: force };
      try {
        await docker.api.json({ method: "POST", path, body });
        return create(DisconnectContainerResponseSchema, { changed: true });
      } catch (error) {
        if (!isNotAttached(error)) {
          const operation = { ...named, resources: { CONTAINER_NOT_FOUND: container } };
          throw mapDockerError(error, network, operation);
        }
        return create(DisconnectContainerResponseSchema, { changed: false });
      }
    },
  } satisfies Methods<typeof NetworkService>;
}

async function getNetwork(
  docker: DockerConnection,
  network: string,
  signal?: AbortSignal,
): Promise<NetworkJson> {
  const call = docker.api.json<NetworkJson>({ path: `/networks/${pathPart(network)}` }, signal);
  return (await withDockerErrors(call, network, named)).body;
}

/** Returns the network that the same request created before, if it has a request_id. */
async function findByRequestId(
  docker: DockerConnection,
  request: CreateNetworkRequest,
  identity: Identity,
): Promise<NetworkJson | undefined> {
  if (request.requestId === "") return undefined;
  const query = { filters: { label: [requestIdFilter(request.requestId)] } };
  const { body } = await docker.api.json<NetworkJson[]>({ path: "/networks", query });
  return body.find(({ Labels }) =>
    matchesRequest(CreateNetworkRequestSchema, request, identity, Labels ?? {}),
  );
}

async function loadNetwork(
  docker: DockerConnection,
  json: NetworkJson,
  view: ListView,
  signal: AbortSignal,
): Promise<Network | undefined> {
  if (view !== ListView.FULL) return networkFromDocker(docker.name, json);
  const whole = await undefinedIf("NETWORK_NOT_FOUND", getNetwork(docker, json.Id, signal));
  return whole && networkFromDocker(docker.name, whole);
}

/**
 * The networks that running containers are attached to, or the others. dockerd's filter `dangling` takes
 * every network that was made for unused, since its list does not have the containers (20.10).
 */
async function selectByUse(
  docker: DockerConnection,
  networks: readonly NetworkJson[],
  unused: boolean | undefined,
  signal: AbortSignal,
): Promise<readonly NetworkJson[]> {
  if (unused === undefined) return networks;
  const whole = await mapInParallel(networks, ({ Id }) =>
    undefinedIf("NETWORK_NOT_FOUND", getNetwork(docker, Id, signal)),
  );
  return networks.filter((_, index) => {
    const json = whole[index];
    return json !== undefined && unused === (Object.keys(json.Containers ?? {}).length === 0);
  });
}

function networkFilters(filter: NetworkFilter | undefined): Filters {
  const scopeWords = Object.entries(scopes).filter(([, scope]) => filter?.scopes.includes(scope));
  return filters({
    id: filter?.ids ?? [],
    name: filter?.names ?? [],
    driver: filter?.drivers ?? [],
    label: labelWords(filter?.labels ?? []),
    scope: scopeWords.map(([word]) => word),
    type: filter?.builtIn === undefined ? [] : [filter.builtIn ? "builtin" : "custom"],
  });
}

/** Containers as dockerd shows them: one by inspect, all by its list. */
import type { ContainerFilter } from "../../../../gen/nap/v1/container_service_pb.js";
import { undefinedIf } from "../../../contract/errors.js";
import { listedContainerMatches } from "../../../core/lists/filters.js";
import { timestampOf } from "../../../lib/time.js";
import { pathPart } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { withDockerErrors } from "../errors.js";
import type { Filters } from "../filters.js";
import { containerFilters, withoutLater } from "../filters.js";
import { containerFromSummary } from "../../docker-http/convert/container/container.js";
import type { ContainerJson, ContainerSummaryJson } from "../../docker-http/json.js";

/** The reasons for errors of a call that names a container. */
export const named = { reasons: { 404: "CONTAINER_NOT_FOUND" } } as const;

/** A container as dockerd has it. Fails with CONTAINER_NOT_FOUND and AMBIGUOUS_ID. */
export async function inspectContainer(
  docker: DockerConnection,
  container: string,
  signal?: AbortSignal,
  query: Readonly<Record<string, boolean>> = {},
): Promise<ContainerJson> {
  const path = `/containers/${pathPart(container)}/json`;
  // Measuring the size takes long if the container has many files.
  const allowLongRunning = query["size"] === true;
  const call = docker.api.json<ContainerJson>({ path, query, allowLongRunning }, signal);
  return (await withDockerErrors(call, container, named)).body;
}

/** The containers that a filter selects; without `all`, only those that run. */
export async function selectContainers(
  docker: DockerConnection,
  filter: ContainerFilter | undefined,
  all: boolean,
  signal: AbortSignal,
): Promise<ContainerSummaryJson[]> {
  const list = await listContainers(docker, { all, filters: containerFilters(filter) }, signal);
  if (filter === undefined) return list;
  // dockerd takes parts of ids, and does not know all fields of the filter.
  const selected = list.filter((json) =>
    listedContainerMatches(containerFromSummary(docker.name, json), filter),
  );
  return withoutLater(selected, filter.createdBefore, async ({ Id }) => {
    const json = await undefinedIf("CONTAINER_NOT_FOUND", inspectContainer(docker, Id, signal));
    return timestampOf(json?.Created);
  });
}

/**
 * The containers that dockerd's filters select, in the state that its events have reported. With `all`,
 * also those that do not run.
 *
 * dockerd serves its list from a replica, which it writes only after it has reported an exit: for some
 * milliseconds an exited container is listed as running (20.10 to 28). An inspect waits for the lock
 * that dockerd holds until the replica is written, so each container whose exit has just been reported
 * is inspected before the list is asked for.
 */
export async function listContainers(
  docker: DockerConnection,
  query: { readonly all?: boolean; readonly filters?: Filters },
  signal?: AbortSignal,
): Promise<ContainerSummaryJson[]> {
  await docker.unlistedExits.settle((id) =>
    undefinedIf("CONTAINER_NOT_FOUND", inspectContainer(docker, id, signal)),
  );
  const path = "/containers/json";
  const list = docker.api.json<ContainerSummaryJson[]>({ path, query }, signal);
  return (await withDockerErrors(list, "containers", { field: "filter" })).body;
}

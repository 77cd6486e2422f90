/** Containers as dockerd shows them: one by inspect, all by its list. */
import { undefinedIf } from "../../../contract/errors.js";
import { pathPart } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { withDockerErrors } from "../errors.js";
import type { Filters } from "../filters.js";
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

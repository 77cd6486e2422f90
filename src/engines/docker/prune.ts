/** Prunes unused resources. */
import type { DockerConnection } from "./connection.js";
import { withDockerErrors } from "./errors.js";
import type { Filters } from "./filters.js";

/**
 * Removes the resources of one kind that are not in use and that the filters select. dockerd runs one
 * prune at a time and rejects others, so the calls of nap's clients are serialized.
 */
export async function prune<T>(
  docker: DockerConnection,
  kind: "containers" | "images" | "networks" | "volumes",
  filters: Filters,
): Promise<T> {
  return docker.withLock(`prune ${kind}`, async () => {
    const request = { method: "POST", path: `/${kind}/prune`, query: { filters } } as const;
    return (await withDockerErrors(docker.api.json<T>(request), kind, {})).body;
  });
}

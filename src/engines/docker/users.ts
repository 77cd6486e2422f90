/** Finds out which containers use something, for the errors that refuse its removal. */
import type { DockerConnection } from "./connection.js";
import { summaryName } from "./convert/container.js";
import type { ContainerSummaryJson } from "./json.js";

/** The names of the containers that use a volume or network. */
export async function usersOf(
  docker: DockerConnection,
  key: "volume" | "network" | "ancestor",
  value: string,
): Promise<string[]> {
  const query = { all: true, filters: { [key]: [value] } };
  const list = await docker.api.json<ContainerSummaryJson[]>({ path: "/containers/json", query });
  return list.body.map(summaryName);
}

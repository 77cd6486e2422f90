/** Finds out which containers use something, for the errors that refuse its removal. */
import type { DockerConnection } from "./connection.js";
import { listContainers } from "./containers/reads.js";
import { summaryName } from "../docker-http/convert/container/container.js";

/** The names of the containers that use a volume or network. */
export async function usersOf(
  docker: DockerConnection,
  key: "volume" | "network" | "ancestor",
  value: string,
): Promise<string[]> {
  const list = await listContainers(docker, { all: true, filters: { [key]: [value] } });
  return list.map(summaryName);
}

/** Where volumes and networks are known, and dockerd's names for it. */
import { ResourceScope } from "../../../../gen/nap/v1/types_pb.js";

export const scopes: Readonly<Record<string, ResourceScope>> = {
  local: ResourceScope.LOCAL,
  global: ResourceScope.GLOBAL,
  swarm: ResourceScope.GLOBAL,
};

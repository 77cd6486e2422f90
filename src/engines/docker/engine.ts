/** Docker as an engine. */
import type { BindRoots } from "../../engine/bind_roots.js";
import type { Engine } from "../../engine/engine.js";
import type { DockerTarget } from "./connection.js";
import { DockerConnection } from "./connection.js";
import { containerFileMethods } from "./container_files.js";
import { containerStreams } from "./container_streams.js";
import { containerMethods } from "./containers.js";
import { execMethods } from "./exec.js";
import { imageArchives } from "./image_archives.js";
import { imageBuilds } from "./image_builds.js";
import { imageTransfers } from "./image_transfers.js";
import { imageMethods } from "./images.js";
import { lifecycleMethods } from "./lifecycle.js";
import { networkMethods } from "./networks.js";
import { processMethods } from "./processes.js";
import { systemMethods } from "./system.js";
import { volumeMethods } from "./volumes.js";

/**
 * The engine for one dockerd. It is reached at its first use, not before. `bindRoots` are the
 * directories of the host that bind mounts may name.
 */
export function createDockerEngine(target: DockerTarget, bindRoots: BindRoots): Engine {
  const docker = new DockerConnection(target, bindRoots);
  return {
    name: target.name,
    driver: "docker",
    containers: {
      ...containerMethods(docker),
      ...lifecycleMethods(docker),
      ...containerStreams(docker),
      ...containerFileMethods(docker),
      ...processMethods(docker),
      ...execMethods(docker),
    },
    volumes: volumeMethods(docker),
    networks: networkMethods(docker),
    images: {
      ...imageMethods(docker),
      ...imageTransfers(docker),
      ...imageArchives(docker),
      ...imageBuilds(docker),
    },
    system: systemMethods(docker),
    connect: (signal, fresh) => docker.connect(signal, fresh),
    // Every call has a connection of its own, which ends with the call.
    close: async () => undefined,
  };
}

/** Docker as an engine. */
import type { BindRoots } from "../../engine/bind_roots.js";
import type { Engine } from "../../engine/engine.js";
import type { SpoolConfig } from "../../engine/spool.js";
import type { DockerTarget } from "./connection.js";
import { DockerConnection } from "./connection.js";
import { archiveMethods } from "./container_archives.js";
import { attachMethods } from "./attach.js";
import { containerFileMethods } from "./container_files.js";
import { statsMethods } from "./container_stats.js";
import { containerStreams } from "./container_streams.js";
import { containerWaits } from "./container_waits.js";
import { containerMethods } from "./containers.js";
import { EventFeed } from "./event_feed.js";
import { execMethods } from "./exec.js";
import { imageArchives } from "./image_archives.js";
import { execStreams } from "./exec_streams.js";
import { imageBuilds } from "./image_builds.js";
import { imageTransfers } from "./image_transfers.js";
import { imageMethods } from "./images.js";
import { lifecycleMethods } from "./lifecycle.js";
import { logMethods } from "./log_streams.js";
import { networkMethods } from "./networks.js";
import { processMethods } from "./processes.js";
import { systemMethods } from "./system.js";
import { volumeMethods } from "./volumes.js";

/**
 * The engine for one dockerd. It is reached at its first use, not before. `bindRoots` are the
 * directories of the host that bind mounts may name, and `spool` is where uploads become whole.
 */
export function createDockerEngine(
  target: DockerTarget,
  bindRoots: BindRoots,
  spool: SpoolConfig,
): Engine {
  const docker = new DockerConnection(target, bindRoots);
  const feed = new EventFeed(docker);
  return {
    name: target.name,
    driver: "docker",
    containers: {
      ...containerMethods(docker),
      ...lifecycleMethods(docker),
      ...containerStreams(docker),
      ...containerWaits(docker, feed),
      ...logMethods(docker, feed),
      ...containerFileMethods(docker),
      ...archiveMethods(docker, spool),
      ...statsMethods(docker),
      ...processMethods(docker),
      ...execMethods(docker),
      ...execStreams(docker),
      ...attachMethods(docker),
    },
    volumes: volumeMethods(docker),
    networks: networkMethods(docker),
    images: {
      ...imageMethods(docker),
      ...imageTransfers(docker),
      ...imageArchives(docker),
      ...imageBuilds(docker),
    },
    system: systemMethods(docker, feed),
    connect: async (signal, fresh) => {
      const connection = await docker.connect(signal, fresh);
      // From now on, so that exits are remembered whoever asks for them later.
      feed.start();
      return connection;
    },
    journalEvents: () => feed.journal.end - feed.journal.first,
    // Every other call has a connection of its own, which ends with the call.
    close: () => feed.close(),
  };
}

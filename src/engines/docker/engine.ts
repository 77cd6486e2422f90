/** Docker as an engine. */
import type { BindRoots } from "../../core/mounts/bind-roots.js";
import type { Engine } from "../../core/engine.js";
import { SharedRuns } from "../../core/containers/shared-runs.js";
import type { SpoolConfig } from "../../core/uploads/spool.js";
import type { DockerTarget } from "./connection.js";
import { DockerConnection } from "./connection.js";
import { archiveMethods } from "./containers/archives.js";
import { attachMethods } from "./exec/attach.js";
import { containerFileMethods } from "./containers/changes.js";
import { statsMethods } from "./containers/stats.js";
import { containerStreams } from "./containers/run.js";
import { containerWaits } from "./containers/waits.js";
import { containerMethods } from "./containers/containers.js";
import { EventFeed } from "./events/feed.js";
import { execMethods } from "./exec/exec.js";
import { imageArchives } from "./images/archives.js";
import { execStreams } from "./exec/streams.js";
import { imageBuilds } from "./images/builds.js";
import { imageTransfers } from "./images/transfers.js";
import { imageMethods } from "./images/images.js";
import { lifecycleMethods } from "./containers/lifecycle.js";
import { logMethods } from "./logs/follow.js";
import { networkMethods } from "./networks.js";
import { processMethods } from "./containers/processes.js";
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
  const runs = new SharedRuns();
  return {
    name: target.name,
    kind: "docker",
    containers: {
      ...containerMethods(docker),
      ...lifecycleMethods(docker),
      ...containerStreams(docker, runs),
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
      // The feed starts now, so that exits are recorded for later calls.
      feed.start();
      return connection;
    },
    journalEvents: () => feed.journal.end - feed.journal.first,
    // Every other call has a connection of its own, which ends with the call.
    close: async () => {
      runs.close();
      await feed.close();
    },
  };
}

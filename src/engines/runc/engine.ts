/** runC as an engine: no daemon, but runc, conmon and umoci, driven by nap itself. */
import type { BindRoots } from "../../engine/bind_roots.js";
import type { Connection, Engine } from "../../engine/engine.js";
import { NapError } from "../../engine/error.js";
import { demand } from "./command.js";
import { containerStreams } from "./container_streams.js";
import { containerWaits } from "./container_waits.js";
import { containerMethods } from "./containers.js";
import { execMethods } from "./exec.js";
import type { RuncTarget } from "./host.js";
import { RuncHost } from "./host.js";
import { imageTransfers } from "./image_transfers.js";
import { imageMethods, removeUnfinished } from "./images.js";
import { lifecycleMethods, settleExits } from "./lifecycle.js";
import { runcSupport } from "./support.js";
import { systemMethods } from "./system.js";

/**
 * The engine for one directory. It is looked at when the engine is first used, not before. `bindRoots`
 * are the directories of the host that bind mounts may name.
 */
export function createRuncEngine(target: RuncTarget, bindRoots: BindRoots): Engine {
  const host = new RuncHost(target, bindRoots);
  let opening: Promise<Connection> | undefined;
  return {
    name: target.name,
    driver: "runc",
    containers: {
      ...containerMethods(host),
      ...lifecycleMethods(host),
      ...containerStreams(host),
      ...containerWaits(host),
      ...execMethods(host),
    },
    images: { ...imageMethods(host), ...imageTransfers(host) },
    system: systemMethods(host),
    connect: async () => {
      opening ??= open(host);
      try {
        return await opening;
      } catch (error) {
        opening = undefined;
        throw error;
      }
    },
    journalEvents: () => host.journal.end - host.journal.first,
    // Containers go on without nap; their shims keep what they say.
    close: async () => host.close(),
  };
}

/** Makes sure that everything is there, and looks after what happened while nap was away. */
async function open(host: RuncHost): Promise<Connection> {
  if (process.getuid?.() !== 0) {
    throw new NapError("ENGINE_UNREACHABLE", "runC needs root here");
  }
  const said = await demand("runc", ["--version"]);
  for (const program of ["conmon", "umoci"]) await demand(program, ["--version"]);
  await host.own();
  await host.store.load();
  await host.imageLock(() => removeUnfinished(host));
  const ends = new Map<string, string>();
  let settling = Promise.resolve();
  const look = (): void => {
    // One look at a time.
    settling = settling.then(() => settleExits(host, ends));
  };
  host.watchExits(look);
  look();
  await settling;
  const [, version = ""] = /^runc version (\S+)$/m.exec(said) ?? [];
  const [, apiVersion = ""] = /^spec: (\S+)$/m.exec(said) ?? [];
  return { version, apiVersion, support: runcSupport() };
}

/** runC as an engine: no daemon, but runc, conmon and umoci, driven by nap itself. */
import type { BindRoots } from "../../core/mounts/bind-roots.js";
import type { Connection, Engine } from "../../core/engine.js";
import { NapError } from "../../contract/errors.js";
import { SharedRuns } from "../../core/containers/shared-runs.js";
import { runChecked } from "./runtime/command.js";
import { containerStreams } from "./containers/run.js";
import { containerWaits } from "./containers/waits.js";
import { containerMethods } from "./containers/containers.js";
import { execMethods } from "./exec/exec.js";
import type { RuncTarget } from "./context.js";
import { RuncContext } from "./context.js";
import { imageTransfers } from "./images/transfers.js";
import { imageMethods, removeUnfinished } from "./images/images.js";
import { lifecycleMethods, reapExited } from "./containers/lifecycle.js";
import { runcSupport } from "./support.js";
import { systemMethods } from "./system.js";

/**
 * The engine for one directory. It is looked at when the engine is first used, not before. `bindRoots`
 * are the directories of the host that bind mounts may name.
 */
export function createRuncEngine(target: RuncTarget, bindRoots: BindRoots): Engine {
  const host = new RuncContext(target, bindRoots);
  const runs = new SharedRuns();
  let opening: Promise<Connection> | undefined;
  return {
    name: target.name,
    kind: "runc",
    containers: {
      ...containerMethods(host),
      ...lifecycleMethods(host),
      ...containerStreams(host, runs),
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
    // Containers keep running without nap; their shims store the output.
    close: async () => {
      runs.close();
      host.close();
    },
  };
}

/** Checks that all programs exist, and handles exits that happened while nap was not running. */
async function open(host: RuncContext): Promise<Connection> {
  if (process.getuid?.() !== 0) {
    throw new NapError("ENGINE_UNREACHABLE", "runC needs root here");
  }
  const output = await runChecked("runc", ["--version"]);
  for (const program of ["conmon", "umoci"]) await runChecked(program, ["--version"]);
  await host.acquireRootLock();
  await host.store.load();
  await host.withImageLock(() => removeUnfinished(host));
  const ends = new Map<string, string>();
  let settling = Promise.resolve();
  const look = (): void => {
    // Checks are serialized.
    settling = settling.then(() => reapExited(host, ends));
  };
  host.watchExits(look);
  look();
  await settling;
  const [, version = ""] = /^runc version (\S+)$/m.exec(output) ?? [];
  const [, apiVersion = ""] = /^spec: (\S+)$/m.exec(output) ?? [];
  return { version, apiVersion, support: runcSupport() };
}

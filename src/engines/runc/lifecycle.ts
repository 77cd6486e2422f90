/** Containers on runC: what changes their state. */
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Container, ContainerService } from "../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerState,
  KillContainerResponseSchema,
  StartContainerResponseSchema,
  StopContainerResponseSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import { EventAction } from "../../../gen/nap/v1/engine_service_pb.js";
import type { Methods } from "../../engine/engine.js";
import { fieldError, NapError } from "../../engine/error.js";
import { execute } from "./command.js";
import { currentContainer, mountRootfs, removeContainer, settle } from "./containers.js";
import { runtimeError } from "./errors.js";
import type { RuncHost } from "./host.js";
import { startShim } from "./shim.js";
import type { Stored } from "./store.js";

/** As long as Docker waits for a container that says nothing of it. */
const defaultStopMillis = 10_000;

/** The calls that change a container's state. */
export function lifecycleMethods(host: RuncHost) {
  const { store } = host;
  return {
    startContainer: async ({ container: key }) => {
      const changed = await startContainer(host, store.find(key));
      return create(StartContainerResponseSchema, { changed });
    },

    stopContainer: async ({ container: key, timeout, stopSignal }) => {
      const stored = store.find(key);
      const { state, spec } = await currentContainer(host, stored);
      if (state !== ContainerState.RUNNING) {
        return create(StopContainerResponseSchema, { changed: false });
      }
      const grace = timeout ?? spec?.stopTimeout;
      await signal(host, stored, stopSignal || spec?.stopSignal || "SIGTERM", "stop_signal");
      const stopped = await exitWithin(host, stored, grace ? durationMs(grace) : defaultStopMillis);
      if (!stopped) {
        await killContainer(host, stored);
        await waitForExit(host, stored, new AbortController().signal);
      }
      host.report(EventAction.STOP, "stop", await currentContainer(host, stored));
      return create(StopContainerResponseSchema, { changed: true });
    },

    killContainer: async ({ container: key, signal: name }) => {
      const stored = store.find(key);
      const { state } = await currentContainer(host, stored);
      if (state !== ContainerState.RUNNING) {
        const message = `container ${key} does not run`;
        throw new NapError("CONTAINER_NOT_RUNNING", message, { resource: key });
      }
      await signal(host, stored, name || "SIGKILL", "signal");
      host.report(EventAction.KILL, "kill", stored.container);
      return create(KillContainerResponseSchema);
    },
  } satisfies Methods<typeof ContainerService>;
}

/** Starts a container; false where it ran already. Fails as StartContainer does. */
export async function startContainer(host: RuncHost, stored: Stored): Promise<boolean> {
  const { id, spec } = stored.container;
  return host.lock(`container ${id}`, async () => {
    const { state } = await currentContainer(host, stored);
    if (state === ContainerState.RUNNING) return false;
    await mountRootfs(host, stored);
    try {
      const pid = await startShim(host.store, id, spec?.tty === true);
      await host.store.noteRun(id, pid);
    } catch (error) {
      await settle(host, id);
      throw error;
    }
    host.report(EventAction.START, "start", stored.container);
    return true;
  });
}

async function signal(host: RuncHost, stored: Stored, name: string, field: string): Promise<void> {
  const { id } = stored.container;
  const { code, stderr } = await execute("runc", ["--root", host.store.runcRoot, "kill", id, name]);
  if (code === 0) return;
  if (/unknown signal/.test(stderr)) {
    const description = `there is no signal ${name}`;
    throw fieldError([{ field, description, kind: "FIELD_INVALID" }]);
  }
  throw runtimeError(id, stderr);
}

/** Kills a container; one that has ended meanwhile is left alone. */
export async function killContainer(host: RuncHost, stored: Stored): Promise<void> {
  try {
    await signal(host, stored, "SIGKILL", "signal");
  } catch (error) {
    if (!(error instanceof NapError) || error.kind !== "CONTAINER_NOT_RUNNING") throw error;
  }
}

/** Waits until a container does not run, and gives it as it is then. */
export async function waitForExit(
  host: RuncHost,
  stored: Stored,
  until: AbortSignal,
): Promise<Container> {
  for (;;) {
    const now = await currentContainer(host, stored);
    if (now.state !== ContainerState.RUNNING) return now;
    await host.nextChange(until);
  }
}

async function exitWithin(host: RuncHost, stored: Stored, millis: number): Promise<boolean> {
  try {
    await waitForExit(host, stored, AbortSignal.timeout(millis));
    return true;
  } catch (error) {
    if (error instanceof DOMException && error.name === "TimeoutError") return false;
    throw error;
  }
}

/**
 * Looks after containers that have exited since the last look: reports it, takes their mounts off, and
 * removes those that are to be removed. `seen` holds the ends that were reported.
 */
export async function settleExits(host: RuncHost, seen: Map<string, string>): Promise<void> {
  for (const stored of host.store.all) {
    const { id, spec } = stored.container;
    const now = await currentContainer(host, stored);
    const end = now.exit?.finishTime;
    if (now.state !== ContainerState.EXITED || end === undefined) continue;
    const key = `${end.seconds}.${end.nanos}`;
    if (seen.get(id) === key) continue;
    seen.set(id, key);
    host.report(EventAction.DIE, "die", now);
    if (spec?.autoRemove) {
      await removeContainer(host, stored);
      seen.delete(id);
    } else {
      await host.lock(`container ${id}`, async () => {
        const { state } = await currentContainer(host, stored);
        if (state === ContainerState.EXITED) await settle(host, id);
      });
    }
  }
}

/** Containers on runC: what changes their state. */
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Container, ContainerService } from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerState,
  KillContainerResponseSchema,
  StartContainerResponseSchema,
  StopContainerResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { EventAction, SignalledSchema } from "../../../../gen/nap/v1/engine_service_pb.js";
import type { Methods } from "../../../core/engine.js";
import { fieldError, NapError, undefinedIf } from "../../../contract/errors.js";
import { verifyBindRoots } from "../../../core/mounts/rooted-mounts.js";
import { waitUntil } from "../../../lib/sleep.js";
import { run } from "../runtime/command.js";
import { currentContainer, mountRootfs, removeContainer, settle } from "./containers.js";
import { runtimeError } from "../errors.js";
import type { RuncContext } from "../context.js";
import { awaitsStart, startAwaiting, startShim } from "../runtime/shim.js";
import type { Stored } from "../runtime/store.js";

/** Docker's default stop timeout. */
const defaultStopMillis = 10_000;

/** The calls that change a container's state. */
export function lifecycleMethods(host: RuncContext) {
  const { store } = host;
  return {
    startContainer: async ({ container: key }) => {
      const changed = await startContainer(host, store.find(key));
      return create(StartContainerResponseSchema, { changed });
    },

    stopContainer: async ({ container: key, timeout, stopSignal }, call) => {
      const stored = store.find(key);
      const { state, spec } = await currentContainer(host, stored);
      if (state === ContainerState.DEAD) await settle(host, stored.container.id);
      if (state !== ContainerState.RUNNING) {
        return create(StopContainerResponseSchema, { changed: false });
      }
      const grace = timeout ?? spec?.stopTimeout;
      const until = Date.now() + (grace ? durationMs(grace) : defaultStopMillis);
      const name = stopSignal || spec?.stopSignal || "SIGTERM";
      const asked = await undefinedIf(
        "CONTAINER_NOT_RUNNING",
        signal(host, stored, name, "stop_signal"),
      );
      if (asked === undefined) return create(StopContainerResponseSchema, { changed: false });
      if (!(await exitBefore(host, stored, until, call.signal))) {
        await killContainer(host, stored);
        await waitForExit(host, stored, call.signal);
      }
      host.report(EventAction.STOP, "stop", await currentContainer(host, stored));
      return create(StopContainerResponseSchema, { changed: true });
    },

    killContainer: async ({ container: key, signal: name }) => {
      const stored = store.find(key);
      const { state } = await currentContainer(host, stored);
      if (state === ContainerState.DEAD) await settle(host, stored.container.id);
      if (state !== ContainerState.RUNNING) {
        const message = `container ${key} does not run`;
        throw new NapError("CONTAINER_NOT_RUNNING", message, { resource: key });
      }
      const sent = name || "SIGKILL";
      await signal(host, stored, sent, "signal");
      const details = create(SignalledSchema, { signal: sent });
      host.report(EventAction.KILL, "kill", stored.container, {
        case: "signalled",
        value: details,
      });
      return create(KillContainerResponseSchema);
    },
  } satisfies Methods<typeof ContainerService>;
}

/**
 * Starts a container; false where it ran already. Fails as StartContainer does. `onStart` is awaited
 * before anything else can happen to the container.
 */
export async function startContainer(
  host: RuncContext,
  stored: Stored,
  onStart: () => Promise<void> = async () => undefined,
): Promise<boolean> {
  const { id, name, spec } = stored.container;
  const started = await host.withLock(`container ${id}`, async () => {
    if (host.store.isGone(id)) {
      throw new NapError("CONTAINER_NOT_FOUND", `no such container: ${name}`, { resource: name });
    }
    const before = await currentContainer(host, stored);
    if (before.state === ContainerState.RUNNING) {
      if (!(await awaitsStart(host.store, id))) return false;
      await startAwaiting(host.store, id);
      host.report(EventAction.START, "start", stored.container);
      await onStart();
      return true;
    }
    // The runtime resolves the sources of binds anew at each start.
    await verifyBindRoots(host.bindRoots, name, spec?.mounts ?? [], stored.ownLabels);
    // The next check for exits may come only after this run has begun.
    if (before.exit !== undefined) host.reportExit(before);
    await mountRootfs(host, stored);
    try {
      await startShim(host.store, id, spec?.tty === true);
    } catch (error) {
      await settle(host, id);
      throw error;
    }
    host.report(EventAction.START, "start", stored.container);
    await onStart();
    return true;
  });
  // An exit before the run was recorded has not woken any waiting call.
  host.checkExits();
  return started;
}

async function signal(
  host: RuncContext,
  stored: Stored,
  name: string,
  field: string,
): Promise<true> {
  const { id } = stored.container;
  const { code, stderr } = await run("runc", ["--root", host.store.runcRoot, "kill", id, name]);
  if (code === 0) return true;
  if (/unknown signal/.test(stderr)) {
    const description = `there is no signal ${name}`;
    throw fieldError([{ field, description, reason: "FIELD_INVALID" }]);
  }
  throw runtimeError(id, stderr);
}

/** Kills a container; one that has ended meanwhile is left alone. */
export async function killContainer(host: RuncContext, stored: Stored): Promise<void> {
  await undefinedIf("CONTAINER_NOT_RUNNING", signal(host, stored, "SIGKILL", "signal"));
}

/** Waits until a container does not run, and gives it as it is then. */
export async function waitForExit(
  host: RuncContext,
  stored: Stored,
  until: AbortSignal,
): Promise<Container> {
  for (;;) {
    const now = await currentContainer(host, stored);
    if (now.state !== ContainerState.RUNNING) return now;
    await host.nextChange(until);
  }
}

/** Whether a container has ended by a time, which is waited for. */
async function exitBefore(
  host: RuncContext,
  stored: Stored,
  epochMillis: number,
  signal: AbortSignal,
): Promise<boolean> {
  const deadline = new AbortController();
  const stop = (): void => deadline.abort();
  signal.addEventListener("abort", stop, { once: true });
  const timer = waitUntil(epochMillis, deadline.signal).then(stop, () => undefined);
  try {
    await waitForExit(host, stored, deadline.signal);
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.signal.aborted) return false;
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
    stop();
    await timer;
  }
}

/** The ends of the runs that have been handled, by container. */
export type SettledEnds = Map<string, string>;

/**
 * Handles containers that have exited since the last check: reports the exit, unmounts the root file
 * system, and removes containers with auto_remove. A failure for one is retried at the next check.
 */
export async function reapExited(host: RuncContext, ends: SettledEnds): Promise<void> {
  for (const stored of host.store.all) {
    try {
      await settleExit(host, stored, ends);
    } catch {
      // Continue with the next container; the next check comes within seconds.
    }
  }
}

async function settleExit(host: RuncContext, stored: Stored, settled: SettledEnds): Promise<void> {
  const { id, spec } = stored.container;
  const now = await currentContainer(host, stored);
  if (now.state === ContainerState.DEAD) host.reportExit(now);
  const end = now.exit?.finishTime;
  if (now.state !== ContainerState.EXITED || end === undefined) return;
  host.reportExit(now);
  const key = `${end.seconds}.${end.nanos}`;
  if (settled.get(id) === key) return;
  if (spec?.autoRemove) {
    await removeContainer(host, stored);
    settled.delete(id);
    return;
  }
  await host.withLock(`container ${id}`, async () => {
    const { state } = await currentContainer(host, stored);
    if (state === ContainerState.EXITED) await settle(host, id);
  });
  settled.set(id, key);
}

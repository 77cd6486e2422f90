/** Containers on Docker: what changes their state, their name and their limits. */
import { create } from "@bufbuild/protobuf";
import type { ContainerService } from "../../../../gen/nap/v1/container_service_pb.js";
import {
  KillContainerResponseSchema,
  PauseContainerResponseSchema,
  PruneContainersResponseSchema,
  RenameContainerResponseSchema,
  RestartContainerResponseSchema,
  StartContainerResponseSchema,
  StopContainerResponseSchema,
  UnpauseContainerResponseSchema,
  UpdateContainerResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { ResourcesSchema, RestartPolicySchema } from "../../../../gen/nap/v1/container_spec_pb.js";
import type { Methods } from "../../../core/engine.js";
import { NapError } from "../../../contract/errors.js";
import { prune } from "../prune.js";
import { verifyBindRoots } from "../../../core/mounts/rooted-mounts.js";
import { pathPart } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer, named } from "./reads.js";
import { containerFromDocker } from "../../docker-http/convert/container/container.js";
import { mountsFromDocker } from "../../docker-http/convert/container/mounts-read.js";
import { updateToDocker } from "../../docker-http/convert/container/update.js";
import { hasStatus, mapDockerError, withDockerErrors } from "../errors.js";
import { pruneFilters } from "../filters.js";
import type { ContainerJson } from "../../docker-http/json.js";
import { assertNoneDropped } from "../read-back.js";
import { wholeSeconds } from "../../docker-http/time.js";

/** The calls that change a container. */
export function lifecycleMethods(docker: DockerConnection) {
  const post = (container: string, verb: string, query = {}, body?: object) =>
    docker.api.json<{ Warnings?: string[] | null }>({
      method: "POST",
      path: `/containers/${pathPart(container)}/${verb}`,
      query,
      ...(body && { body }),
    });

  return {
    startContainer: async ({ container }) => {
      const changed = await startContainer(docker, container);
      return create(StartContainerResponseSchema, { changed });
    },

    stopContainer: async ({ container, timeout, stopSignal }) => {
      const stop = post(container, "stop", stopQuery(timeout, stopSignal));
      const { status } = await withDockerErrors(stop, container, {
        ...named,
        field: "stop_signal",
      });
      return create(StopContainerResponseSchema, { changed: status !== 304 });
    },

    restartContainer: async ({ container, timeout, stopSignal }) => {
      await recheckBinds(docker, await inspectContainer(docker, container), container);
      const restart = post(container, "restart", stopQuery(timeout, stopSignal));
      await withDockerErrors(restart, container, { reasons: cannotStart });
      return create(RestartContainerResponseSchema);
    },

    killContainer: async ({ container, signal }) => {
      await withDockerErrors(post(container, "kill", signal === "" ? {} : { signal }), container, {
        reasons: { ...named.reasons, 409: "CONTAINER_NOT_RUNNING" },
        field: "signal",
      });
      return create(KillContainerResponseSchema);
    },

    pauseContainer: async ({ container }) => {
      const changed = await changeOrExplain(docker, container, post(container, "pause"), true);
      return create(PauseContainerResponseSchema, { changed });
    },

    unpauseContainer: async ({ container }) => {
      const changed = await changeOrExplain(docker, container, post(container, "unpause"), false);
      return create(UnpauseContainerResponseSchema, { changed });
    },

    renameContainer: async ({ container, newName }) => {
      const { Id, Name } = await inspectContainer(docker, container);
      if (Name === `/${newName}`) return create(RenameContainerResponseSchema, { changed: false });
      await withDockerErrors(post(Id, "rename", { name: newName }), container, {
        reasons: { ...named.reasons, 409: "NAME_IN_USE" },
        resources: { NAME_IN_USE: newName },
        field: "new_name",
      });
      return create(RenameContainerResponseSchema, { changed: true });
    },

    updateContainer: async (request) => {
      const before = await inspectContainer(docker, request.container);
      const body = updateToDocker(request, before.HostConfig);
      const update = await withDockerErrors(
        post(before.Id, "update", {}, body),
        request.container,
        {
          ...named,
          field: "resources",
        },
      );
      const container = containerFromDocker(docker.name, await inspectContainer(docker, before.Id));
      const warnings = update.body.Warnings ?? [];
      const { resources, restartPolicy } = request;
      const got = container.spec;
      assertNoneDropped({
        resource: container.name,
        warnings,
        root: "",
        parts: [
          { path: "resources", desc: ResourcesSchema, wanted: resources, got: got?.resources },
          {
            path: "restart_policy",
            desc: RestartPolicySchema,
            wanted: restartPolicy,
            got: got?.restartPolicy,
          },
        ],
      });
      return create(UpdateContainerResponseSchema, { container, warnings });
    },

    pruneContainers: async (request) => {
      const body = await prune<{
        ContainersDeleted: string[] | null;
        SpaceReclaimed: number;
      }>(docker, "containers", pruneFilters(request.filter));
      return create(PruneContainersResponseSchema, {
        containerIds: body.ContainersDeleted ?? [],
        reclaimedBytes: BigInt(body.SpaceReclaimed),
      });
    },
  } satisfies Methods<typeof ContainerService>;
}

function stopQuery(timeout: Parameters<typeof wholeSeconds>[1], stopSignal: string): object {
  return {
    t: wholeSeconds("timeout", timeout),
    ...(stopSignal !== "" && { signal: stopSignal }),
  };
}

/** The reasons for errors of a start whose request has no spec. */
const cannotStart = {
  ...named.reasons,
  400: "CONTAINER_START_FAILED",
  403: "CONTAINER_START_FAILED",
  500: "CONTAINER_START_FAILED",
} as const;

/** dockerd resolves the sources of binds anew at each start. */
async function recheckBinds(
  docker: DockerConnection,
  { HostConfig, Config }: ContainerJson,
  container: string,
): Promise<void> {
  const mounts = mountsFromDocker(HostConfig, undefined);
  const roots = docker.sameHost ? docker.bindRoots : undefined;
  await verifyBindRoots(roots, container, mounts, Config.Labels);
}

/** Starts a container; false where it ran already. */
async function startContainer(docker: DockerConnection, container: string): Promise<boolean> {
  return startInspected(docker, await inspectContainer(docker, container), container);
}

/**
 * Starts a container that was just inspected; returns false if it was running. Fails as StartContainer
 * does; with `field` errors in the container's spec are reported for that field of the request.
 */
export async function startInspected(
  docker: DockerConnection,
  json: ContainerJson,
  container: string,
  field?: string,
): Promise<boolean> {
  if (!json.State.Running) await recheckBinds(docker, json, container);
  try {
    const path = `/containers/${pathPart(container)}/start`;
    return (await docker.api.json({ method: "POST", path })).status !== 304;
  } catch (error) {
    if (hasStatus(error, 409)) {
      const { State } = await inspectContainer(docker, container);
      const reason = State.Paused ? "CONTAINER_PAUSED" : "OPERATION_IN_PROGRESS";
      throw mapDockerError(error, container, { reasons: { 409: reason } });
    }
    const ofField = field && mapDockerError(error, container, { ...named, field });
    const isTold = ofField instanceof NapError && ofField.reason !== "ENGINE_ERROR";
    throw isTold ? ofField : mapDockerError(error, container, { reasons: cannotStart });
  }
}

/**
 * Awaits a pause or an unpause; false where there was nothing to change. dockerd says 409 or 500 both
 * of a container that is that already and of one that does not run.
 */
async function changeOrExplain(
  docker: DockerConnection,
  container: string,
  change: Promise<unknown>,
  paused: boolean,
): Promise<boolean> {
  try {
    await change;
    return true;
  } catch (error) {
    if (!hasStatus(error, 409) && !hasStatus(error, 500)) {
      throw mapDockerError(error, container, named);
    }
    const { State } = await inspectContainer(docker, container);
    if (State.Running && State.Paused === paused) return false;
    const reason = State.Running ? "ENGINE_ERROR" : "CONTAINER_NOT_RUNNING";
    throw mapDockerError(error, container, { reasons: { 409: reason, 500: reason } });
  }
}

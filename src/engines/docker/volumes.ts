/** Volumes on Docker. */
import { create } from "@bufbuild/protobuf";
import { VolumeSpecSchema } from "../../../gen/nap/v1/container_spec_pb.js";
import type {
  CreateVolumeRequest,
  Volume,
  VolumeService,
} from "../../../gen/nap/v1/volume_service_pb.js";
import {
  CreateVolumeRequestSchema,
  CreateVolumeResponseSchema,
  GetVolumeResponseSchema,
  ListVolumesResponseSchema,
  PruneVolumesResponseSchema,
  RemoveVolumeResponseSchema,
  VolumeSchema,
} from "../../../gen/nap/v1/volume_service_pb.js";
import { ListView } from "../../../gen/nap/v1/types_pb.js";
import type { Methods } from "../../core/engine.js";
import { fieldError, NapError, undefinedIf } from "../../contract/errors.js";
import type { Identity } from "../../auth/identity.js";
import {
  matchesRequest,
  ownerOf,
  provenanceLabels,
  requestIdFilter,
} from "../../contract/reserved-labels.js";
import { volumeMatches } from "../../core/lists/filters.js";
import { pageOf } from "../../core/lists/page.js";
import { mapInParallel } from "../../lib/parallel.js";
import { pathPart } from "../docker-http/client.js";
import type { DockerConnection } from "./connection.js";
import { sameSpec, volumeFromDocker, volumeSpecToDocker } from "../docker-http/convert/volume.js";
import { hasStatus, mapDockerError, withDockerErrors } from "./errors.js";
import { filters, labelWords, pruneFilters } from "./filters.js";
import type { VolumeJson } from "../docker-http/json.js";
import { prune } from "./prune.js";
import { assertNoneDropped } from "./read-back.js";
import { usersOf } from "./users.js";

const named = { reasons: { 404: "VOLUME_NOT_FOUND" } } as const;

/** The calls on volumes. */
export function volumeMethods(docker: DockerConnection) {
  return {
    createVolume: (request, { signal, identity }) =>
      docker.withLock(`volume ${request.requestId || request.name}`, async () => {
        const { name, spec } = request;
        const before =
          (await findByRequestId(docker, request, identity)) ??
          (name === ""
            ? undefined
            : await undefinedIf("VOLUME_NOT_FOUND", getVolume(docker, name)));
        if (before !== undefined) {
          const same =
            matchesRequest(CreateVolumeRequestSchema, request, identity, before.Labels ?? {}) ||
            sameSpec(before, spec);
          if (!same) throw otherSpec(name);
          const volume = volumeFromDocker(docker.name, before);
          return create(CreateVolumeResponseSchema, { volume, changed: false });
        }
        const own = provenanceLabels(CreateVolumeRequestSchema, request, identity);
        const body = { Name: name, ...volumeSpecToDocker(spec, own) };
        const call = docker.api.json<VolumeJson>({ method: "POST", path: "/volumes/create", body });
        const reasons = { 404: "VOLUME_DRIVER_NOT_FOUND" } as const;
        const made = (await withDockerErrors(call, name || "a volume", { reasons, field: "spec" }))
          .body;
        const volume = volumeFromDocker(docker.name, made);
        // Another client may have created it since the lookup; dockerd then returns that volume.
        if (name !== "" && !sameSpec(made, spec)) throw otherSpec(name);
        try {
          // A volume without a requested name is always new.
          const part = { path: "spec", desc: VolumeSpecSchema, wanted: spec, got: volume.spec };
          if (name === "")
            assertNoneDropped({ resource: made.Name, warnings: [], root: "spec", parts: [part] });
          const owned = ownerOf(made.Labels) === identity.name;
          if (owned && request.requestId === "") signal.throwIfAborted();
        } catch (error) {
          await docker.api.json({ method: "DELETE", path: `/volumes/${pathPart(made.Name)}` });
          throw error;
        }
        return create(CreateVolumeResponseSchema, { volume, changed: true });
      }),

    getVolume: async ({ volume: name }, { signal }) => {
      const json = await getVolume(docker, name, signal);
      return create(GetVolumeResponseSchema, { volume: volumeFromDocker(docker.name, json) });
    },

    listVolumes: async (request, { signal }) => {
      const { filter, view } = request;
      const wanted = filters({
        name: filter?.names ?? [],
        driver: filter?.drivers ?? [],
        label: labelWords(filter?.labels ?? []),
        dangling: filter?.unused === undefined ? [] : [String(filter.unused)],
      });
      const { body } = await docker.api.json<{ Volumes: VolumeJson[]; Warnings: string[] | null }>(
        { path: "/volumes", query: { filters: wanted } },
        signal,
      );
      // dockerd takes parts of names, and does not know all fields of the filter.
      const selected = body.Volumes.filter((json) =>
        volumeMatches(volumeFromDocker(docker.name, json), filter),
      );
      const { items, nextPageToken } = await pageOf(selected, request, {
        key: ({ Name }) => Name,
        load: (page) => mapInParallel(page, (json) => loadVolume(docker, json, view, signal)),
        schema: VolumeSchema,
      });
      const warnings = body.Warnings ?? [];
      return create(ListVolumesResponseSchema, { volumes: items, nextPageToken, warnings });
    },

    removeVolume: async ({ volume: name, force }) => {
      // With force dockerd says of a volume that is not there that it is gone.
      await getVolume(docker, name);
      const path = `/volumes/${pathPart(name)}`;
      try {
        await docker.api.json({ method: "DELETE", path, query: { force } });
      } catch (error) {
        if (!hasStatus(error, 409)) throw mapDockerError(error, name, named);
        const users = await usersOf(docker, "volume", name);
        const message = `volume ${name} is used by ${users.join(", ")}`;
        throw new NapError("RESOURCE_IN_USE", message, { resource: name, users }, error);
      }
      return create(RemoveVolumeResponseSchema);
    },

    pruneVolumes: async (request) => {
      // Before API 1.42 dockerd removes all; since then only anonymous ones, unless told otherwise.
      const tellsApart = !docker.apiVersionAtMost("1.41");
      if (!tellsApart && !request.includeNamed) {
        const description = `Docker API ${docker.apiVersion} removes named volumes too: set it`;
        const reason = "FIELD_UNSUPPORTED";
        throw fieldError([{ field: "include_named", description, reason }]);
      }
      const all = tellsApart && request.includeNamed ? ["true"] : [];
      const body = await prune<{
        VolumesDeleted: string[] | null;
        SpaceReclaimed: number;
      }>(docker, "volumes", { ...pruneFilters(request.filter), ...filters({ all }) });
      return create(PruneVolumesResponseSchema, {
        volumeNames: body.VolumesDeleted ?? [],
        reclaimedBytes: BigInt(body.SpaceReclaimed),
      });
    },
  } satisfies Methods<typeof VolumeService>;
}

/** The volume that the same request made before, where it has a request_id. */
async function findByRequestId(
  docker: DockerConnection,
  request: CreateVolumeRequest,
  identity: Identity,
): Promise<VolumeJson | undefined> {
  if (request.requestId === "") return undefined;
  const query = { filters: { label: [requestIdFilter(request.requestId)] } };
  const { body } = await docker.api.json<{ Volumes: VolumeJson[] }>({ path: "/volumes", query });
  return body.Volumes.find(({ Labels }) =>
    matchesRequest(CreateVolumeRequestSchema, request, identity, Labels ?? {}),
  );
}

async function getVolume(
  docker: DockerConnection,
  name: string,
  signal?: AbortSignal,
): Promise<VolumeJson> {
  const call = docker.api.json<VolumeJson>({ path: `/volumes/${pathPart(name)}` }, signal);
  return (await withDockerErrors(call, name, named)).body;
}

async function loadVolume(
  docker: DockerConnection,
  json: VolumeJson,
  view: ListView,
  signal: AbortSignal,
): Promise<Volume | undefined> {
  if (view !== ListView.FULL) return volumeFromDocker(docker.name, json);
  const whole = await undefinedIf("VOLUME_NOT_FOUND", getVolume(docker, json.Name, signal));
  return whole && volumeFromDocker(docker.name, whole);
}

function otherSpec(name: string): NapError {
  const message = `there is a volume ${name} already, with another spec`;
  return new NapError("NAME_IN_USE", message, { resource: name });
}

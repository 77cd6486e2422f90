/** Images on Docker: the calls that answer once. The transfers are in `image_transfers.ts`. */
import { create } from "@bufbuild/protobuf";
import type {
  Image,
  ImageHistoryEntry,
  ImageService,
} from "../../../../gen/nap/v1/image_service_pb.js";
import {
  GetImageHistoryResponseSchema,
  GetImageResponseSchema,
  ImageHistoryEntrySchema,
  ImageSchema,
  ListImagesResponseSchema,
  PruneImagesResponseSchema,
  RemoveImageResponseSchema,
  TagImageResponseSchema,
} from "../../../../gen/nap/v1/image_service_pb.js";
import { ListView } from "../../../../gen/nap/v1/types_pb.js";
import type { Methods } from "../../../core/engine.js";
import { environmentMap } from "../../../lib/env-vars.js";
import { NapError, undefinedIf } from "../../../contract/errors.js";
import { listedImageMatches } from "../../../core/lists/filters.js";
import { linePages, newestFirst, pageOf } from "../../../core/lists/page.js";
import { mapInParallel } from "../../../lib/parallel.js";
import { pathPart } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { healthCheckFromDocker } from "../../docker-http/convert/container/health-check.js";
import { portFromKey } from "../../docker-http/convert/container/ports.js";
import { hasStatus, mapDockerError, withDockerErrors } from "../errors.js";
import { filters, labelWords, pruneFilters, withoutLater } from "../filters.js";
import type { ConfigJson, ImageJson, ImageSummaryJson } from "../../docker-http/json.js";
import { prune } from "../prune.js";
import { parseReference } from "../../../core/images/reference.js";
import { timestampOf, timestampOfNanos } from "../../../lib/time.js";
import { usersOf } from "../users.js";

/** Keys of steps have as many digits, so that their order as texts is that of the numbers. */
const stepDigits = 8;

const named = { reasons: { 404: "IMAGE_NOT_FOUND" }, field: "image" } as const;

/** The calls on images that answer once. */
export function imageMethods(docker: DockerConnection) {
  return {
    getImage: async (request, { signal }) => {
      const json = await inspectImage(docker, request.image, signal);
      return create(GetImageResponseSchema, { image: imageFromDocker(docker.name, json) });
    },

    listImages: async (request, { signal }) => {
      const { filter } = request;
      const wanted = filters({
        reference: filter?.references ?? [],
        label: labelWords(filter?.labels ?? []),
        dangling: filter?.untagged === undefined ? [] : [String(filter.untagged)],
        before: filter?.beforeImage === undefined ? [] : [filter.beforeImage],
        since: filter?.sinceImage === undefined ? [] : [filter.sinceImage],
      });
      const query = { all: filter?.includeIntermediate === true, filters: wanted };
      const call = docker.api.json<ImageSummaryJson[]>({ path: "/images/json", query }, signal);
      const { body } = await withDockerErrors(call, "images", { field: "filter" });
      // dockerd does not know all fields of the filter.
      const listed = body.filter(
        (json) => !filter || listedImageMatches(imageFromSummary(docker.name, json), filter),
      );
      const selected = await withoutLater(listed, filter?.createdBefore, async ({ Id }) => {
        const json = await undefinedIf("IMAGE_NOT_FOUND", inspectImage(docker, Id, signal));
        return timestampOf(json?.Created);
      });
      const { items, nextPageToken } = await pageOf(selected, request, {
        key: ({ Created, Id }) => newestFirst(Created, Id),
        load: (page) =>
          mapInParallel(page, (json) => loadImage(docker, json, request.view, signal)),
        schema: ImageSchema,
      });
      return create(ListImagesResponseSchema, { images: items, nextPageToken });
    },

    removeImage: async ({ image, force, keepParents }) => {
      const path = `/images/${pathPart(image)}`;
      const query = { force, noprune: keepParents };
      try {
        const call = docker.api.json<RemovedJson[]>({ method: "DELETE", path, query });
        return create(RemoveImageResponseSchema, removedFromDocker((await call).body));
      } catch (error) {
        if (!hasStatus(error, 409)) throw mapDockerError(error, image, named);
        throw await inUse(docker, image, error);
      }
    },

    tagImage: async ({ image, reference }) => {
      const { name: repo, tag } = parseReference(reference);
      const path = `/images/${pathPart(image)}/tag`;
      const call = docker.api.json({ method: "POST", path, query: { repo, tag } });
      await withDockerErrors(call, image, { ...named, field: "reference" });
      return create(TagImageResponseSchema);
    },

    getImageHistory: async (request, { signal }) => {
      const { image } = request;
      const path = `/images/${pathPart(image)}/history`;
      const call = docker.api.json<HistoryJson[]>({ path }, signal);
      const { body } = await withDockerErrors(call, image, named);
      const steps = body.map((json, index) => ({ json, index }));
      const { items, nextPageToken } = await pageOf(steps, request, {
        key: ({ index }) => String(index).padStart(stepDigits, "0"),
        load: async (page) => page.map(({ json }) => historyFromDocker(json)),
        schema: ImageHistoryEntrySchema,
        sizes: linePages,
      });
      return create(GetImageHistoryResponseSchema, { entries: items, nextPageToken });
    },

    pruneImages: async (request) => {
      const dangling = [String(!request.includeTagged)];
      const body = await prune<{
        ImagesDeleted: RemovedJson[] | null;
        SpaceReclaimed: number;
      }>(docker, "images", { ...pruneFilters(request.filter), dangling });
      return create(PruneImagesResponseSchema, {
        ...removedFromDocker(body.ImagesDeleted ?? []),
        reclaimedBytes: BigInt(body.SpaceReclaimed),
      });
    },
  } satisfies Methods<typeof ImageService>;
}

interface RemovedJson {
  readonly Untagged?: string;
  readonly Deleted?: string;
}

function removedFromDocker(removed: readonly RemovedJson[]): {
  untaggedReferences: string[];
  deletedIds: string[];
} {
  return {
    untaggedReferences: removed.flatMap(({ Untagged = [] }) => Untagged),
    deletedIds: removed.flatMap(({ Deleted = [] }) => Deleted),
  };
}

interface HistoryJson {
  readonly Id: string;
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Size: number;
  readonly Comment: string;
  readonly Tags: string[] | null;
}

function historyFromDocker(json: HistoryJson): ImageHistoryEntry {
  return create(ImageHistoryEntrySchema, {
    // The steps of an image that was pulled have no image of their own.
    imageId: json.Id === "<missing>" ? "" : json.Id,
    createTime: timestampOfNanos(BigInt(json.Created) * 1_000_000_000n),
    createdBy: json.CreatedBy,
    sizeBytes: BigInt(json.Size),
    comment: json.Comment,
    tags: json.Tags ?? [],
  });
}

/** dockerd refuses an image that containers use, or by its id one that has several references. */
async function inUse(docker: DockerConnection, image: string, error: unknown): Promise<NapError> {
  const users = await usersOf(docker, "ancestor", image);
  const { RepoTags } = await inspectImage(docker, image);
  // An image that is neither in use nor has several references has child images, which dockerd does not
  // name.
  const by = users.length > 0 ? users : (RepoTags ?? []).length > 1 ? (RepoTags ?? []) : [];
  const words = error instanceof Error ? error.message : "";
  const message = `image ${image} is used${by.length > 0 ? ` by ${by.join(", ")}` : `: ${words}`}`;
  return new NapError("RESOURCE_IN_USE", message, { resource: image, users: by }, error);
}

/** An image as dockerd has it. Fails with IMAGE_NOT_FOUND, under the name that was asked for. */
export async function inspectImage(
  docker: DockerConnection,
  image: string,
  signal?: AbortSignal,
  asked = image,
): Promise<ImageJson> {
  const call = docker.api.json<ImageJson>({ path: `/images/${pathPart(image)}/json` }, signal);
  return (await withDockerErrors(call, asked, named)).body;
}

async function loadImage(
  docker: DockerConnection,
  json: ImageSummaryJson,
  view: ListView,
  signal: AbortSignal,
): Promise<Image | undefined> {
  if (view !== ListView.FULL) return imageFromSummary(docker.name, json);
  const whole = await undefinedIf("IMAGE_NOT_FOUND", inspectImage(docker, json.Id, signal));
  return whole && imageFromDocker(docker.name, whole);
}

function imageFromSummary(engine: string, json: ImageSummaryJson): Image {
  return create(ImageSchema, {
    engine,
    id: json.Id,
    tags: realReferences(json.RepoTags),
    digests: realReferences(json.RepoDigests),
    sizeBytes: BigInt(json.Size),
    createTime: timestampOfNanos(BigInt(json.Created) * 1_000_000_000n),
    labels: json.Labels ?? {},
    parentId: json.ParentId,
  });
}

/** A list shows images without a reference as "<none>:<none>". */
function realReferences(references: readonly string[] | null): string[] {
  return (references ?? []).filter((reference) => !reference.startsWith("<none>"));
}

function imageFromDocker(engine: string, json: ImageJson): Image {
  return create(ImageSchema, {
    engine,
    id: json.Id,
    tags: json.RepoTags ?? [],
    digests: json.RepoDigests ?? [],
    sizeBytes: BigInt(json.Size),
    createTime: timestampOf(json.Created),
    labels: json.Config?.Labels ?? {},
    platform: {
      os: json.Os,
      architecture: json.Architecture,
      ...(json.Variant && { variant: json.Variant }),
    },
    config: configFromDocker(json.Config ?? {}),
    layerDigests: json.RootFS.Layers ?? [],
    parentId: json.Parent,
    author: json.Author,
    comment: json.Comment,
  });
}

function configFromDocker(
  config: ConfigJson,
): NonNullable<Parameters<typeof create<typeof ImageSchema>>[1]>["config"] {
  return {
    ...(config.Entrypoint && { entrypoint: { arguments: config.Entrypoint } }),
    ...(config.Cmd && { command: { arguments: config.Cmd } }),
    environment: environmentMap(config.Env),
    workingDir: config.WorkingDir ?? "",
    user: config.User ?? "",
    exposedPorts: Object.keys(config.ExposedPorts ?? {}).map(portFromKey),
    volumePaths: Object.keys(config.Volumes ?? {}),
    stopSignal: config.StopSignal ?? "",
    healthCheck: healthCheckFromDocker(config.Healthcheck),
  };
}

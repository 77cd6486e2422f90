/** Images as an OCI layout, kept by umoci 0.4.7. */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type {
  Image,
  ImageService,
  RemoveImageRequest,
  RemoveImageResponse,
} from "../../../../gen/nap/v1/image_service_pb.js";
import {
  GetImageResponseSchema,
  ImageSchema,
  ListImagesResponseSchema,
  RemoveImageResponseSchema,
  TagImageResponseSchema,
} from "../../../../gen/nap/v1/image_service_pb.js";
import { ListView } from "../../../../gen/nap/v1/types_pb.js";
import type { Methods } from "../../../core/engine.js";
import { NapError } from "../../../contract/errors.js";
import { newestFirst, pageOf } from "../../../core/lists/page.js";
import { normalizeReference } from "../../../core/images/reference.js";
import { imageMatches } from "../../../core/lists/filters.js";
import { runChecked } from "../runtime/command.js";
import { imageConfigOf } from "../convert/image.js";
import type { OciConfig } from "../convert/image.js";
import type { RuncContext } from "../context.js";
import { readIfThere } from "../runtime/store.js";

const refAnnotation = "org.opencontainers.image.ref.name";

/** The calls on images that answer once. */
export function imageMethods(host: RuncContext) {
  return {
    getImage: async ({ image }) =>
      create(GetImageResponseSchema, { image: (await findImage(host, image)).image }),

    listImages: async (request) => {
      const stored = await host.withImageLock(() => storedImages(host));
      const all = stored.map(({ image }) => image);
      const selected = all.filter((image) => imageMatches(image, request.filter));
      const { items, nextPageToken } = await pageOf(selected, request, {
        key: ({ createTime, id }) => newestFirst(Number(createTime?.seconds ?? 0n), id),
        load: async (page) => (request.view === ListView.FULL ? page : page.map(basicView)),
        schema: ImageSchema,
      });
      return create(ListImagesResponseSchema, { images: items, nextPageToken });
    },

    tagImage: async ({ image, reference }) => {
      await host.withImageLock(async () => {
        const { tags } = await imageByKey(host, image);
        const from = `${host.store.images}:${tags[0]}`;
        await runChecked("umoci", [
          "tag",
          "--image",
          from,
          encodeTag(normalizeReference(reference)),
        ]);
      });
      return create(TagImageResponseSchema);
    },

    // No container is created from it meanwhile.
    removeImage: (request) =>
      host.withLock("create", () => host.withImageLock(() => removeImage(host, request))),
  } satisfies Methods<typeof ImageService>;
}

async function removeImage(
  host: RuncContext,
  { image: key, force }: RemoveImageRequest,
): Promise<RemoveImageResponse> {
  const { image, tags } = await imageByKey(host, key);
  const reference = normalizeReference(key);
  const named = image.tags.includes(reference);
  const last = !named || tags.length === 1;
  const users = host.store.all
    .filter(({ imageDigest }) => last && imageDigest === image.id)
    .map(({ container }) => container.name);
  if (users.length > 0) {
    const message = `image ${key} is used by ${users.join(", ")}`;
    throw new NapError("RESOURCE_IN_USE", message, { resource: key, users });
  }
  if (!named && image.tags.length > 1 && !force) {
    const message = `image ${key} has several references: ${image.tags.join(", ")}`;
    throw new NapError("RESOURCE_IN_USE", message, { resource: key, users: image.tags });
  }
  const gone = named ? [encodeTag(reference)] : tags;
  for (const tag of gone)
    await runChecked("umoci", ["remove", "--image", `${host.store.images}:${tag}`]);
  if (last) {
    await runChecked("umoci", ["gc", "--layout", host.store.images]);
    await removeUnpacked(host, image.id);
  }
  return create(RemoveImageResponseSchema, {
    untaggedReferences: named ? [reference] : image.tags,
    deletedIds: last ? [image.id] : [],
  });
}

async function removeUnpacked(host: RuncContext, id: string): Promise<void> {
  const directory = host.store.unpacked(id);
  await rm(`${directory}.done`, { force: true });
  await rm(directory, { recursive: true, force: true });
}

/** A list shows of an image what Docker's list shows. */
function basicView(image: Image): Image {
  const { engine, id, tags, digests, sizeBytes, createTime, labels } = image;
  return create(ImageSchema, { engine, id, tags, digests, sizeBytes, createTime, labels });
}

/** An image and the names by which umoci has it. */
export interface StoredImage {
  readonly image: Image;
  readonly tags: readonly string[];
}

/** The image by reference, id or unique prefix of it. Fails with IMAGE_NOT_FOUND. */
export async function findImage(host: RuncContext, key: string): Promise<StoredImage> {
  return host.withImageLock(() => imageByKey(host, key));
}

/** The image that umoci has under a tag. For callers that hold the lock of the images. */
export async function imageByTag(host: RuncContext, tag: string): Promise<StoredImage> {
  const found = (await storedImages(host)).find(({ tags }) => tags.includes(tag));
  if (found !== undefined) return found;
  throw new NapError("IMAGE_NOT_FOUND", `no such image: ${tag}`, { resource: tag });
}

async function imageByKey(host: RuncContext, key: string): Promise<StoredImage> {
  const all = await storedImages(host);
  const reference = normalizeReference(key);
  const byReference = all.find(({ image }) => image.tags.includes(reference));
  if (byReference !== undefined) return byReference;
  const prefix = key.startsWith("sha256:") ? key : `sha256:${key}`;
  const byId = all.filter(({ image }) => image.id.startsWith(prefix));
  if (byId.length > 1) {
    throw new NapError("AMBIGUOUS_ID", `several ids begin with ${key}`, { resource: key });
  }
  const [found] = byId;
  if (found !== undefined) return found;
  throw new NapError("IMAGE_NOT_FOUND", `no such image: ${key}`, { resource: key });
}

/**
 * The root file system of an image, unpacked once for all its containers. For callers that hold the
 * lock of the images.
 */
export async function unpackImage(
  host: RuncContext,
  { image, tags }: StoredImage,
): Promise<string> {
  const target = host.store.unpacked(image.id);
  if ((await readIfThere(`${target}.done`)) !== undefined) return target;
  const fresh = `${target}.${randomUUID()}`;
  const from = `${host.store.images}:${tags[0]}`;
  await runChecked("umoci", ["raw", "unpack", "--image", from, fresh]);
  await rm(target, { recursive: true, force: true });
  await rename(fresh, target);
  await writeFile(`${target}.done`, "");
  return target;
}

interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

async function storedImages(host: RuncContext): Promise<StoredImage[]> {
  const index = await readIfThere(join(host.store.images, "index.json"));
  if (index === undefined) return [];
  const { manifests } = JSON.parse(index) as { manifests: Descriptor[] | null };
  const found = new Map<string, { manifest: Manifest; tags: string[] }>();
  for (const { digest, annotations } of manifests ?? []) {
    const tag = annotations?.[refAnnotation];
    if (tag === undefined) continue;
    const manifest = await blob<Manifest>(host, digest);
    const known = found.get(manifest.config.digest) ?? { manifest, tags: [] };
    known.tags.push(tag);
    found.set(manifest.config.digest, known);
  }
  return Promise.all(
    [...found.values()].map(async ({ manifest, tags }) => ({
      tags,
      image: imageOf(host, manifest, tags, await blob<OciConfig>(host, manifest.config.digest)),
    })),
  );
}

async function blob<T>(host: RuncContext, digest: string): Promise<T> {
  const path = join(host.store.images, "blobs", digest.replace(":", "/"));
  return JSON.parse(await readFile(path, "utf8")) as T;
}

function imageOf(
  host: RuncContext,
  manifest: Manifest,
  tags: readonly string[],
  config: OciConfig,
): Image {
  return create(ImageSchema, {
    engine: host.name,
    id: manifest.config.digest,
    tags: tags.flatMap((tag) => decodeTag(tag) ?? []).toSorted(),
    sizeBytes: BigInt(manifest.layers.reduce((sum, { size }) => sum + size, 0)),
    ...(config.created && { createTime: timestampFromDate(new Date(config.created)) }),
    labels: config.config?.Labels ?? {},
    platform: { os: config.os, architecture: config.architecture },
    config: imageConfigOf(config.config ?? {}),
    layerDigests: config.rootfs.diff_ids,
    author: config.author ?? "",
    comment: config.history?.at(-1)?.comment ?? "",
  });
}

/**
 * A reference as a tag of umoci's. umoci takes fewer characters than references have, so all but
 * letters and digits are written as "x" and two hexadecimal digits, and so is "x" itself.
 */
export function encodeTag(reference: string): string {
  const plain = reference.replace(
    /[^a-wyzA-Z0-9]/g,
    (character) => `x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `t${plain}`;
}

/** The reference that a tag stands for. Undefined: the image has none. */
function decodeTag(tag: string): string | undefined {
  if (!tag.startsWith("t")) return undefined;
  return tag
    .slice(1)
    .replace(/x([0-9a-f]{2})/g, (_all, code: string) => String.fromCharCode(parseInt(code, 16)));
}

/** A tag for an image that has no reference. */
export function anonymousTag(): string {
  return `u${randomUUID().replaceAll("-", "")}`;
}

/** A tag for an image that is being made. */
export function temporaryTag(): string {
  return `i${randomUUID().replaceAll("-", "")}`;
}

/** Removes what imports left behind that were cut short by the end of nap. */
export async function removeUnfinished(host: RuncContext): Promise<void> {
  await ensureLayout(host);
  const unfinished = (await storedImages(host)).flatMap(({ tags }) => tags);
  for (const tag of unfinished.filter((name) => name.startsWith("i"))) {
    await runChecked("umoci", ["remove", "--image", `${host.store.images}:${tag}`]);
  }
  for (const name of await readdir(host.store.root)) {
    if (name.startsWith("import-")) await rm(join(host.store.root, name), { force: true });
  }
  const known = new Set([
    ...(await storedImages(host)).map(({ image }) => host.store.unpacked(image.id)),
    ...host.store.all.map(({ imageDigest }) => host.store.unpacked(imageDigest)),
  ]);
  const directory = join(host.store.root, "unpacked");
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    if (!known.has(path.replace(/\.done$/, ""))) await rm(path, { recursive: true, force: true });
  }
}

/** Makes sure that there is a layout. */
export async function ensureLayout(host: RuncContext): Promise<void> {
  const layout = await readIfThere(join(host.store.images, "oci-layout"));
  if (layout !== undefined) return;
  await mkdir(host.store.root, { recursive: true, mode: 0o700 });
  await runChecked("umoci", ["init", "--layout", host.store.images]);
}

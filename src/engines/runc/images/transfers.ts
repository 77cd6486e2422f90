/** Images for runC: the calls that move them. */
import { createWriteStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type {
  Image,
  ImageService,
  ImportImageRequest,
  ImportImageResponse,
} from "../../../../gen/nap/v1/image_service_pb.js";
import {
  ImportImageResponseSchema,
  ImportImageResultSchema,
} from "../../../../gen/nap/v1/image_service_pb.js";
import { readOpen } from "../../../contract/open.js";
import type { Call, Methods } from "../../../core/engine.js";
import { NapError } from "../../../contract/errors.js";
import { normalizeReference } from "../../../core/images/reference.js";
import type { UploadProgress } from "../../../core/transfers/progress.js";
import { withProgress } from "../../../core/transfers/progress.js";
import { uploadBytes } from "../../../core/uploads/upload.js";
import { run, runChecked } from "../runtime/command.js";
import type { RuncContext } from "../context.js";
import {
  anonymousTag,
  encodeTag,
  ensureLayout,
  imageByTag,
  temporaryTag,
  unpackImage,
} from "./images.js";

/** The calls that move images. */
export function imageTransfers(host: RuncContext) {
  return {
    importImage: (requests, call) => importImage(host, requests, call),
  } satisfies Methods<typeof ImageService>;
}

async function* importImage(
  host: RuncContext,
  requests: AsyncIterable<ImportImageRequest>,
  { signal }: Call,
): AsyncGenerator<ImportImageResponse> {
  const incoming = requests[Symbol.asyncIterator]();
  const { reference, message } = await readOpen(incoming);
  const load = async (progress: UploadProgress, combined: AbortSignal): Promise<string> => {
    const archive = join(host.store.root, `import-${randomUUID()}`);
    try {
      const bytes = progress.counted(uploadBytes(incoming));
      const upload = Readable.from(bytes, { objectMode: false });
      await pipeline(upload, createWriteStream(archive, { mode: 0o600 }), { signal: combined });
      const tar = await plainArchive(archive);
      await requireTar(tar);
      const tag = reference === "" ? anonymousTag() : encodeTag(normalizeReference(reference));
      return (await host.withImageLock(() => addImage(host, tag, tar, message))).id;
    } finally {
      await rm(archive, { force: true });
      await rm(`${archive}.tar`, { force: true });
    }
  };
  const respond = (event: ImportImageResponse["event"]) =>
    create(ImportImageResponseSchema, { event });
  const imageId = yield* withProgress(
    load,
    (value) => respond({ case: "progress", value }),
    signal,
  );
  yield respond({ case: "result", value: create(ImportImageResultSchema, { imageId }) });
}

/** umoci accepts any file as a tar archive, and fails only when it unpacks it. */
async function requireTar(tar: string): Promise<void> {
  // From standard input tar unpacks no compression of its own accord.
  const { code, stderr } = await run("sh", ["-c", 'exec tar -t <"$0" >/dev/null', tar]);
  if (code === 0) return;
  const engineMessage = stderr.trim();
  const message = `it is no tar archive: ${engineMessage}`;
  throw new NapError("ARCHIVE_INVALID", message, { engineMessage });
}

/**
 * Makes an image and unpacks it, and only then gives it its tag. An image that had the tag is kept
 * without one, since containers may use it.
 */
async function addImage(
  host: RuncContext,
  tag: string,
  tar: string,
  message: string,
): Promise<Image> {
  await ensureLayout(host);
  const layout = host.store.images;
  const fresh = temporaryTag();
  const image = `${layout}:${fresh}`;
  try {
    await runChecked("umoci", ["new", "--image", image]);
    const comment = message === "" ? "imported" : message;
    await runChecked("umoci", [
      "raw",
      "add-layer",
      "--image",
      image,
      "--history.comment",
      comment,
      tar,
    ]);
    const made = await imageByTag(host, fresh);
    await unpackImage(host, made);
    const before = await imageByTag(host, tag).catch(() => undefined);
    if (before?.tags.length === 1) {
      await runChecked("umoci", ["tag", "--image", `${layout}:${tag}`, anonymousTag()]);
    }
    await runChecked("umoci", ["tag", "--image", image, tag]);
    return made.image;
  } finally {
    await runChecked("umoci", ["remove", "--image", image]);
  }
}

/** The magic numbers of compression formats, and the programs that decompress them. */
const compressions: readonly [magic: string, program: string][] = [
  ["1f8b", "gzip"],
  ["425a68", "bzip2"],
  ["fd377a585a", "xz"],
];

/** The archive without compression, since umoci compresses whatever it is given. */
async function plainArchive(archive: string): Promise<string> {
  const head = await firstBytes(archive);
  const program = compressions.find(([magic]) => head.startsWith(magic))?.[1];
  if (program === undefined) return archive;
  const plain = `${archive}.tar`;
  await runChecked("sh", ["-c", 'exec "$0" -dc <"$1" >"$2"', program, archive, plain]);
  return plain;
}

async function firstBytes(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(6), 0, 6, 0);
    return buffer.subarray(0, bytesRead).toString("hex");
  } finally {
    await file.close();
  }
}

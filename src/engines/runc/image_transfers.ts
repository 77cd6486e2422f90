/** Images for runC: the calls that move them. */
import { createWriteStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { ImageService } from "../../../gen/nap/v1/image_service_pb.js";
import { ImportImageResponseSchema } from "../../../gen/nap/v1/image_service_pb.js";
import type { Methods } from "../../engine/engine.js";
import { NapError } from "../../engine/error.js";
import { wholeReference } from "../../engine/reference.js";
import { importBytes, importOpen } from "../../engine/upload.js";
import { demand, execute } from "./command.js";
import type { RuncHost } from "./host.js";
import { anonymousTag, encodeTag, ensureLayout, findImage, unpackImage } from "./images.js";

/** The calls that move images. */
export function imageTransfers(host: RuncHost) {
  return {
    importImage: async (requests, { signal }) => {
      const incoming = requests[Symbol.asyncIterator]();
      const { reference, message } = await importOpen(incoming);
      const archive = join(host.store.root, `import-${randomUUID()}`);
      try {
        const upload = Readable.from(importBytes(incoming), { objectMode: false });
        await pipeline(upload, createWriteStream(archive, { mode: 0o600 }), { signal });
        // umoci takes whatever it is given for a tar archive, and fails only when it unpacks it.
        const listed = await execute("tar", ["-tf", archive]);
        if (listed.code !== 0) {
          const engineMessage = listed.stderr.trim();
          throw new NapError("ARCHIVE_INVALID", `it is no tar archive: ${engineMessage}`, {
            engineMessage,
          });
        }
        const tag = reference === "" ? anonymousTag() : encodeTag(wholeReference(reference));
        await addImage(host, tag, await plainArchive(archive), message);
        const key = reference === "" ? undefined : wholeReference(reference);
        const stored = await findImage(host, key ?? (await anonymousId(host, tag)));
        await unpackImage(host, stored);
        return create(ImportImageResponseSchema, { imageId: stored.image.id });
      } finally {
        await rm(archive, { force: true });
        await rm(`${archive}.tar`, { force: true });
      }
    },
  } satisfies Methods<typeof ImageService>;
}

async function addImage(host: RuncHost, tag: string, tar: string, message: string): Promise<void> {
  const image = `${host.store.images}:${tag}`;
  await host.imageLock(async () => {
    await ensureLayout(host);
    await demand("umoci", ["remove", "--image", image]);
    await demand("umoci", ["new", "--image", image]);
    const comment = message === "" ? "imported" : message;
    await demand("umoci", [
      "raw",
      "add-layer",
      "--image",
      image,
      "--history.comment",
      comment,
      tar,
    ]);
  });
}

/** The id of the image under a tag that stands for no reference. */
async function anonymousId(host: RuncHost, tag: string): Promise<string> {
  const stat = await demand("umoci", ["stat", "--json", "--image", `${host.store.images}:${tag}`]);
  return (JSON.parse(stat) as { config_digest?: string }).config_digest ?? "";
}

/** What the first bytes of a compressed archive are, and what unpacks it. */
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
  await demand("sh", ["-c", 'exec "$0" -dc <"$1" >"$2"', program, archive, plain]);
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

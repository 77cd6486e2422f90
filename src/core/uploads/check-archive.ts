/** Checks a tar archive before it is sent to an engine. */
import { posix } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import type { Extract } from "tar-stream";
import { extract } from "tar-stream";
import { NapError } from "../../contract/errors.js";
import type { SpoolFile } from "./spool.js";

/** The magic numbers of compression formats. */
const compressions: readonly [name: string, magic: Buffer][] = [
  ["gzip", Buffer.from([0x1f, 0x8b])],
  ["bzip2", Buffer.from("BZh")],
  ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00])],
  ["zstd", Buffer.from([0x28, 0xb5, 0x2f, 0xfd])],
];

/**
 * Checks that an upload is a complete tar archive, plain or compressed with gzip, and that no name in it
 * leads outside the directory in which it will be unpacked. Fails with ARCHIVE_INVALID.
 */
export async function checkArchive(upload: SpoolFile, signal: AbortSignal): Promise<void> {
  const compression = await compressionOf(upload);
  if (compression !== undefined && compression !== "gzip") {
    throw invalid(`the archive is compressed with ${compression}; only gzip can be checked`);
  }
  if (upload.sizeBytes === 0) throw invalid("the archive is empty");
  const unpack = compression === undefined ? [] : [createGunzip()];
  try {
    await pipeline([upload.read(), ...unpack, tarReader()], { signal });
  } catch (error) {
    signal.throwIfAborted();
    const { code = "" } = error as NodeJS.ErrnoException;
    // An error of the spool's file system is not the archive's fault.
    if (error instanceof NapError || /^E[A-Z]+$/.test(code)) throw error;
    throw invalid(`the archive is broken: ${(error as Error).message}`, error);
  }
}

async function compressionOf(upload: SpoolFile): Promise<string | undefined> {
  const start: Buffer[] = [];
  for await (const chunk of upload.read(8)) start.push(chunk as Buffer);
  const bytes = Buffer.concat(start);
  return compressions.find(([, magic]) => bytes.subarray(0, magic.length).equals(magic))?.[0];
}

/** Returns a stream that parses an archive, discards the contents, and fails if the archive is invalid. */
function tarReader(): Extract {
  // Archives in the format before POSIX have no magic number; their checksums are still checked.
  // tar-stream's types do not know the option.
  const options: object = { allowUnknownFormat: true };
  const tar = extract(options);
  tar.on("entry", ({ name }, contents, next) => {
    // If the archive ends within an entry, this stream fails in addition to the whole.
    contents.on("error", () => undefined);
    contents.on("end", () => next(escapes(name) ? outside(name) : undefined));
    contents.resume();
  });
  return tar;
}

function escapes(name: string): boolean {
  const path = posix.normalize(name);
  return path === ".." || path.startsWith("../");
}

function outside(name: string): NapError {
  return invalid(`the archive's entry ${name} leads out of the directory`);
}

function invalid(message: string, cause?: unknown): NapError {
  return new NapError("ARCHIVE_INVALID", message, {}, cause);
}

/**
 * Stores an upload in a temporary file until it is complete, and computes its size and digest.
 *
 * The file is unlinked as soon as it is open, so nothing is left of it even if the server is killed.
 */
import { createHash, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { NapError } from "../../contract/errors.js";

/** The maximum size of one read of a file, in bytes. */
const readBytes = 256 * 1024;

/** The directory for uploads, and the maximum size of one. */
export interface SpoolConfig {
  /** A directory that exists. */
  readonly directory: string;
  readonly maxUploadBytes: number;
}

/** One upload. The caller of {@link SpoolFile.open} closes it. */
export class SpoolFile {
  readonly #file: FileHandle;
  readonly #maxBytes: number;
  readonly #hash = createHash("sha256");
  #sizeBytes = 0;

  private constructor(file: FileHandle, maxBytes: number) {
    this.#file = file;
    this.#maxBytes = maxBytes;
  }

  /** Opens an empty file in the spool. Fails with SPOOL_FULL. */
  static async open({ directory, maxUploadBytes }: SpoolConfig): Promise<SpoolFile> {
    const path = join(directory, `nap-upload-${randomUUID()}`);
    const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    const flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW;
    const file = await open(path, flags, 0o600).catch((error: unknown) => {
      throw spoolError(error);
    });
    try {
      await unlink(path);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new SpoolFile(file, maxUploadBytes);
  }

  /** The bytes written so far. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** The SHA-256 digest of the bytes written so far. */
  sha256(): Buffer {
    return this.#hash.copy().digest();
  }

  /** Adds bytes. Fails with UPLOAD_TOO_LARGE, and with SPOOL_FULL where the disk has no space left. */
  async append(bytes: Uint8Array): Promise<void> {
    if (this.#sizeBytes + bytes.length > this.#maxBytes) {
      const message = `the upload exceeds the ${this.#maxBytes} bytes that the server takes`;
      throw new NapError("UPLOAD_TOO_LARGE", message);
    }
    this.#hash.update(bytes);
    for (let at = 0; at < bytes.length;) {
      at += await this.#write(bytes.subarray(at));
    }
  }

  async #write(bytes: Uint8Array): Promise<number> {
    try {
      const { bytesWritten } = await this.#file.write(bytes, 0, bytes.length, this.#sizeBytes);
      this.#sizeBytes += bytesWritten;
      return bytesWritten;
    } catch (error) {
      throw spoolError(error);
    }
  }

  /**
   * Returns a stream of what was written, from the beginning, at most `maxBytes`. Several streams may read
   * at once.
   */
  read(maxBytes = this.#sizeBytes): Readable {
    return Readable.from(this.#chunks(maxBytes), { objectMode: false });
  }

  async *#chunks(end: number): AsyncGenerator<Buffer> {
    for (let at = 0; at < end;) {
      const length = Math.min(readBytes, end - at);
      const { bytesRead, buffer } = await this.#file.read(Buffer.alloc(length), 0, length, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  /** Closes the file and frees its disk space. */
  async close(): Promise<void> {
    await this.#file.close();
  }
}

/** Converts an error of writing to the spool. */
function spoolError(error: unknown): unknown {
  if ((error as NodeJS.ErrnoException).code !== "ENOSPC") return error;
  const message = "the disk on which the server keeps uploads is full";
  return new NapError("SPOOL_FULL", message, {}, error);
}

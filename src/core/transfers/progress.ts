/** The progress of transfers: reports between the messages of a stream. */
import { create } from "@bufbuild/protobuf";
import type { TransferProgress, TransferProgressBatch } from "../../../gen/nap/v1/types_pb.js";
import {
  TransferProgressBatchSchema,
  TransferProgressSchema,
} from "../../../gen/nap/v1/types_pb.js";
import { sleep } from "../../lib/sleep.js";

/** The time between two messages of an upload's progress. */
const uploadIntervalMillis = 500;
/** The number of bytes between two messages of a download's progress. */
const downloadIntervalBytes = 4 * 1024 * 1024;
/** The maximum number of parts of which a report is kept until the client reads it. */
const maxParts = 1000;

/** The last unsent report on each part of an upload. */
export class UploadProgress {
  #unsent = new Map<string, TransferProgress>();

  /** Replaces an earlier report on the same part. */
  report(progress: TransferProgress): void {
    this.#unsent.delete(progress.part);
    this.#unsent.set(progress.part, progress);
    const [oldest] = this.#unsent.keys();
    if (this.#unsent.size > maxParts && oldest !== undefined) this.#unsent.delete(oldest);
  }

  /** Reports how many bytes of the upload have been received so far. */
  received(bytes: number): void {
    this.report(byteCount("Receiving", bytes));
  }

  /** Yields the bytes of an upload and reports their number. */
  async *counted(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let bytes = 0;
    for await (const data of source) {
      this.received((bytes += data.length));
      yield data;
    }
  }

  /** Takes all reports; undefined if there are none. */
  take(): TransferProgressBatch | undefined {
    const items = [...this.#unsent.values()];
    this.#unsent.clear();
    return items.length === 0 ? undefined : create(TransferProgressBatchSchema, { items });
  }
}

/**
 * Runs `work`, yields its progress twice a second and at its end, and returns its result. A client that
 * does not read does not delay the work, and gets the last reports.
 */
export async function* withProgress<T, R>(
  work: (progress: UploadProgress, signal: AbortSignal) => Promise<T>,
  message: (progress: TransferProgressBatch) => R,
  signal: AbortSignal,
): AsyncGenerator<R, T> {
  const progress = new UploadProgress();
  const left = new AbortController();
  const combined = AbortSignal.any([signal, left.signal]);
  const working = work(progress, combined);
  const settled = working.then(
    () => true,
    () => true,
  );
  try {
    for (;;) {
      const tick = sleep(uploadIntervalMillis, combined).then(() => false);
      const ended = await Promise.race([settled, tick]);
      // On failure the error is thrown without the last reports.
      if (ended) await working;
      const reports = progress.take();
      if (reports !== undefined) yield message(reports);
      if (ended) return await working;
    }
  } finally {
    left.abort();
    // A change that the engine has begun is not interrupted, and its clean-up is part of the call.
    if (signal.aborted) await settled;
  }
}

/** Yields the bytes of a download, and their number every 4 MiB. */
export async function* downloadEvents<B extends Uint8Array>(
  source: AsyncIterable<B>,
): AsyncGenerator<
  | { readonly case: "data"; readonly value: B }
  | { readonly case: "progress"; readonly value: TransferProgressBatch }
> {
  let bytes = 0;
  let due = downloadIntervalBytes;
  for await (const value of source) {
    yield { case: "data", value };
    bytes += value.length;
    if (bytes < due) continue;
    due = bytes + downloadIntervalBytes;
    const items = [byteCount("Sending", bytes)];
    yield { case: "progress", value: create(TransferProgressBatchSchema, { items }) };
  }
}

/** A report on the whole transfer. */
function byteCount(phase: string, bytes: number): TransferProgress {
  return create(TransferProgressSchema, { phase, currentBytes: BigInt(bytes) });
}

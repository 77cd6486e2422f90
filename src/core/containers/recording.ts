/** Records the output and the exit status of one run of a container, for calls that come later. */
import { create } from "@bufbuild/protobuf";
import type {
  ExitStatus,
  OutputBatch,
  OutputChunk,
  OutputStream,
} from "../../../gen/nap/v1/types_pb.js";
import { OutputBatchSchema } from "../../../gen/nap/v1/types_pb.js";
import { NapError } from "../../contract/errors.js";
import { orAborted } from "../../lib/sleep.js";

/** A run of a container that is being read. */
export interface Run {
  readonly output: AsyncIterable<OutputBatch>;
  /** Resolves with the exit status once the run has ended. */
  exit(): Promise<ExitStatus>;
  /** Releases the resources of the run, also if its output was never read. */
  close(): void | Promise<void>;
}

/** Adds the number of bytes in a batch to the count of each stream. */
export function countBytes(delivered: Map<OutputStream, number>, { chunks }: OutputBatch): void {
  for (const { stream, data } of chunks)
    delivered.set(stream, (delivered.get(stream) ?? 0) + data.length);
}

/** The memory that a chunk takes in addition to its bytes. */
const chunkBytes = 256;

/**
 * Returns copies of chunks, with neighbours of one stream in one: some engines make a chunk of each line. A
 * chunk may be a view of a larger buffer, all of which it would keep in memory.
 */
function joined(chunks: readonly OutputChunk[]): OutputChunk[] {
  const copies: OutputChunk[] = [];
  for (let at = 0; at < chunks.length;) {
    const first = chunks[at]!;
    let end = at + 1;
    while (end < chunks.length && chunks[end]!.stream === first.stream) end++;
    const data = Buffer.concat(chunks.slice(at, end).map((chunk) => chunk.data));
    copies.push({ ...first, data: new Uint8Array(data) });
    at = end;
  }
  return copies;
}

/** The recording of one run. */
export class Recording {
  /** Resolves when the run has ended and its recording is complete. */
  readonly done: Promise<void>;
  readonly #received = new Map<OutputStream, number>();
  readonly #grown: (bytes: number) => void;
  #batches: OutputBatch[] = [];
  #bytes = 0;
  #isWhole = true;
  #isOver = false;
  #exit: ExitStatus | undefined;
  #failure: unknown;
  #wake = (): void => undefined;
  #changed = this.#nextChange();

  /** Begins to read the run. `grown` is called with the change of the number of bytes kept. */
  constructor(run: Run, grown: (bytes: number) => void) {
    this.#grown = grown;
    this.done = this.#read(run);
  }

  /** True if all output so far is kept. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Discards the output and records no more of it. The exit status is still recorded. */
  drop(): void {
    const bytes = this.#bytes;
    this.#isWhole = false;
    this.#batches = [];
    this.#bytes = 0;
    this.#grown(-bytes);
    this.#tell();
  }

  /** Yields the output from its beginning to the end of the run, or until it is discarded. */
  async *replay(signal: AbortSignal): AsyncGenerator<OutputBatch> {
    for (let at = 0; this.#isWhole;) {
      const batch = this.#batches[at];
      if (batch !== undefined) {
        at++;
        yield batch;
      } else if (this.#isOver) {
        return;
      } else {
        await orAborted(this.#changed, signal);
      }
    }
  }

  /**
   * Returns whether these byte counts are those of the whole output of the run. Waits for the end of the
   * run.
   */
  async isAll(delivered: ReadonlyMap<OutputStream, number>, signal: AbortSignal): Promise<boolean> {
    await orAborted(this.done, signal);
    if (this.#failure !== undefined) return true;
    return [...this.#received].every(([stream, bytes]) => delivered.get(stream) === bytes);
  }

  /**
   * Resolves with the exit status once the run has ended. Fails with EXIT_STATUS_UNKNOWN if the engine
   * was lost before.
   */
  async exit(signal: AbortSignal): Promise<ExitStatus> {
    await orAborted(this.done, signal);
    if (this.#exit !== undefined) return this.#exit;
    const message = "the engine went away before the container ended";
    throw new NapError("EXIT_STATUS_UNKNOWN", message, {}, this.#failure);
  }

  async #read(run: Run): Promise<void> {
    try {
      for await (const batch of run.output) {
        countBytes(this.#received, batch);
        if (this.#isWhole) this.#keep(batch);
      }
      this.#exit = await run.exit();
    } catch (error) {
      this.#failure = error;
      this.drop();
    } finally {
      await run.close();
      this.#isOver = true;
      this.#tell();
    }
  }

  #keep({ chunks }: OutputBatch): void {
    const copies = joined(chunks);
    const bytes = copies.reduce((sum, { data }) => sum + data.length + chunkBytes, 0);
    this.#batches.push(create(OutputBatchSchema, { chunks: copies }));
    this.#bytes += bytes;
    this.#grown(bytes);
    this.#tell();
  }

  #tell(): void {
    const wake = this.#wake;
    this.#changed = this.#nextChange();
    wake();
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}

/** Keeps the beginning of a stream of bytes. */

/** As much of each stream of a command is kept where its request says nothing of it. */
export const defaultOutputBytes = 524_288;
/** As much is kept of why a command did not start, however little output is wanted. */
export const reasonBytes = 4096;

/** The first bytes of a stream, at most as many as a limit says. */
export class BoundedBuffer {
  readonly #chunks: Uint8Array[] = [];
  #room: number;
  truncated = false;

  constructor(limit: number) {
    this.#room = limit;
  }

  add(data: Uint8Array): void {
    const part = data.subarray(0, this.#room);
    this.truncated ||= part.length < data.length;
    this.#room -= part.length;
    if (part.length > 0) this.#chunks.push(part);
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(Buffer.concat(this.#chunks));
  }
}

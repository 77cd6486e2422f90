/** Keeps the first bytes of a stream. */

/** The default of how many bytes of each output stream of a command are returned. */
export const defaultOutputBytes = 524_288;
/** The maximum size of the message why a command did not start, independent of the output limit. */
export const reasonBytes = 4096;

/** The first bytes of a stream, up to a limit. */
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

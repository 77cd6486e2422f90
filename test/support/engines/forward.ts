/** A socket that leads to another one, which a test can take away and give back. */
import { once } from "node:events";
import type { Server, Socket } from "node:net";
import { connect, createServer } from "node:net";

/** A unix socket in front of another. */
export class Forward {
  readonly #open = new Map<Socket, Buffer>();
  #server: Server | undefined;

  constructor(
    readonly path: string,
    private readonly target: string,
  ) {}

  /** Begins to listen. */
  async up(): Promise<void> {
    this.#server = createServer((inward) => {
      const outward = connect(this.target);
      this.#open.set(inward, Buffer.alloc(0));
      // A connection may serve one request after another.
      inward.on("data", (request) => this.#open.set(inward, request));
      inward.on("close", () => this.#open.delete(inward));
      for (const [from, to] of [
        [inward, outward],
        [outward, inward],
      ] as const) {
        from.on("error", () => to.destroy());
        from.on("close", () => to.destroy());
        from.pipe(to);
      }
    }).listen(this.path);
    await once(this.#server, "listening");
  }

  /** Ends all connections and stops listening. */
  async down(): Promise<void> {
    if (this.#server === undefined) return;
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server = undefined;
    for (const socket of this.#open.keys()) socket.destroy();
    await closed;
  }

  /** How many open connections have had a request like this last. */
  count(request: RegExp): number {
    return [...this.#open.values()].filter((last) => request.test(last.toString())).length;
  }
}

/** The calls that a server is handling: how many each identity has, and how they are ended at shutdown. */
import { setMaxListeners } from "node:events";
import type { DescMethod } from "@bufbuild/protobuf";
import type { Identity } from "../auth/identity.js";
import { NapError } from "../contract/errors.js";

/** The calls in progress of one server. */
export class CallTracker {
  readonly #running = new Set<Promise<void>>();
  readonly #counts = new Map<Identity, number>();
  readonly #streams = new AbortController();
  readonly #others = new AbortController();

  constructor() {
    // Every call in progress adds a listener to one of them.
    setMaxListeners(0, this.#streams.signal, this.#others.signal);
  }

  /** Returns the signal that aborts calls of this method at shutdown. */
  endOf({ methodKind }: DescMethod): AbortSignal {
    return (methodKind === "unary" ? this.#others : this.#streams).signal;
  }

  track(call: Promise<void>): Promise<void> {
    this.#running.add(call);
    return call.finally(() => this.#running.delete(call));
  }

  /**
   * Counts a call of this identity. Fails with CONCURRENCY_LIMIT_EXCEEDED if the identity is at its limit.
   */
  acquireSlot(identity: Identity): void {
    const count = this.#counts.get(identity) ?? 0;
    if (count >= identity.maxCalls) {
      const message = `the identity "${identity.name}" has ${count} calls in progress, which is its limit`;
      throw new NapError("CONCURRENCY_LIMIT_EXCEEDED", message);
    }
    this.#counts.set(identity, count + 1);
  }

  /** Releases the slot of one {@link acquireSlot}. */
  releaseSlot(identity: Identity): void {
    this.#counts.set(identity, (this.#counts.get(identity) ?? 1) - 1);
  }

  /** Aborts all streams; other calls may finish. */
  endStreams(): void {
    this.#streams.abort(stopping());
  }

  /** Aborts all other calls. */
  endAll(): void {
    this.#others.abort(stopping());
  }

  /** Resolves when no call is in progress, including its clean-up. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }
}

function stopping(): NapError {
  return new NapError("SERVER_SHUTTING_DOWN", "the server is shutting down");
}

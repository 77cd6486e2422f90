/** The calls that a server is handling: how many each identity has, and how they are ended at shutdown. */
import { setMaxListeners } from "node:events";
import type { DescMethod } from "@bufbuild/protobuf";
import type { Identity } from "../auth/identity.js";
import { NapError } from "../contract/errors.js";

/** The calls that a server has under way. */
export class CallTracker {
  readonly #running = new Set<Promise<void>>();
  readonly #counts = new Map<Identity, number>();
  readonly #streams = new AbortController();
  readonly #others = new AbortController();

  constructor() {
    // Every call under way listens to one of them.
    setMaxListeners(0, this.#streams.signal, this.#others.signal);
  }

  /** Aborted when a call of this method must end since the server stops. */
  endOf({ methodKind }: DescMethod): AbortSignal {
    return (methodKind === "unary" ? this.#others : this.#streams).signal;
  }

  track(call: Promise<void>): Promise<void> {
    this.#running.add(call);
    return call.finally(() => this.#running.delete(call));
  }

  /** Counts a call of this identity. Fails with CONCURRENCY_LIMIT_EXCEEDED where it has as many as it may. */
  acquireSlot(identity: Identity): void {
    const count = this.#counts.get(identity) ?? 0;
    if (count >= identity.maxCalls) {
      const message = `the identity "${identity.name}" has ${count} calls in progress, which is its limit`;
      throw new NapError("CONCURRENCY_LIMIT_EXCEEDED", message);
    }
    this.#counts.set(identity, count + 1);
  }

  /** Takes back one {@link acquireSlot}. */
  releaseSlot(identity: Identity): void {
    this.#counts.set(identity, (this.#counts.get(identity) ?? 1) - 1);
  }

  /** Ends all streams; other calls may finish. */
  endStreams(): void {
    this.#streams.abort(stopping());
  }

  /** Ends all calls that know how to. */
  endAll(): void {
    this.#others.abort(stopping());
  }

  /** Resolves when no call is under way, its clean-up included. */
  async settled(): Promise<void> {
    await Promise.all(this.#running);
  }
}

function stopping(): NapError {
  return new NapError("SERVER_SHUTTING_DOWN", "the server is shutting down");
}

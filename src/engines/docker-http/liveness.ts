/**
 * Detects a dockerd that stops responding while calls wait for it.
 *
 * A frozen dockerd accepts connections and does not respond, and many calls may legitimately take any
 * time. So while a call is in progress dockerd is pinged if it has sent nothing, and all calls are aborted
 * once it has sent nothing for the whole timeout. No pings are sent while no call is in progress.
 */

/** The number of pings within the timeout. */
const asksPerTimeout = 4;

/** Watches the responses of one dockerd for all calls that wait for it. */
export class Liveness {
  readonly #waiting = new Set<(silentMillis: number) => void>();
  #seenMillis = 0;
  #timer: NodeJS.Timeout | undefined;
  #asking: AbortController | undefined;

  constructor(
    /** How long dockerd may be silent. */
    readonly timeoutMillis: number,
    /** Sends a request to dockerd. Resolves once any response has come. */
    private readonly ask: (signal: AbortSignal) => Promise<void>,
  ) {}

  /**
   * Calls `onSilence` once dockerd has been silent for too long. Returns a function that ends the watch.
   */
  watch(onSilence: (silentMillis: number) => void): () => void {
    if (this.#waiting.size === 0) this.#begin();
    // Each is an entry of its own, should a function be given twice.
    const entry = (silentMillis: number): void => onSilence(silentMillis);
    this.#waiting.add(entry);
    return () => {
      if (this.#waiting.delete(entry) && this.#waiting.size === 0) this.#end();
    };
  }

  /** Records a response. */
  seen(): void {
    this.#seenMillis = performance.now();
  }

  #begin(): void {
    this.seen();
    this.#timer = setInterval(() => this.#look(), this.timeoutMillis / asksPerTimeout);
  }

  #end(): void {
    clearInterval(this.#timer);
    this.#asking?.abort();
    this.#asking = undefined;
  }

  #look(): void {
    const silentMillis = performance.now() - this.#seenMillis;
    if (silentMillis >= this.timeoutMillis) {
      const all = [...this.#waiting];
      this.#waiting.clear();
      this.#end();
      for (const onSilence of all) onSilence(this.timeoutMillis);
    } else if (silentMillis >= this.timeoutMillis / asksPerTimeout && !this.#asking) {
      void this.#askOnce();
    }
  }

  /** Pings on a new connection. A refused connection is not a response, and is retried. */
  async #askOnce(): Promise<void> {
    const asking = (this.#asking = new AbortController());
    try {
      await this.ask(asking.signal);
      if (!asking.signal.aborted) this.seen();
    } catch {
      // The silence goes on, and is what is judged.
    } finally {
      if (this.#asking === asking) this.#asking = undefined;
    }
  }
}

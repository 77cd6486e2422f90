/**
 * Whether dockerd is alive while something waits for it.
 *
 * A dockerd that is frozen accepts connections and answers nothing, and many calls may rightly take
 * any time until they are answered. So while any is under way dockerd is asked for a sign of life
 * where it has given none by itself, and all are ended once it has given none for the whole timeout.
 * While none is under way nothing is asked.
 */

/** How often dockerd is asked within the timeout. */
const asksPerTimeout = 4;

/** One dockerd's signs of life, for everything that waits for it. */
export class Liveness {
  readonly #waiting = new Set<(silentMillis: number) => void>();
  #seenMillis = 0;
  #timer: NodeJS.Timeout | undefined;
  #asking: AbortController | undefined;

  constructor(
    /** How long dockerd may be silent. */
    readonly timeoutMillis: number,
    /** Asks dockerd for any answer at all. Resolves once one has come. */
    private readonly ask: (signal: AbortSignal) => Promise<void>,
  ) {}

  /** Has `onSilence` called once dockerd has been silent for too long, unless what is returned is called. */
  watch(onSilence: (silentMillis: number) => void): () => void {
    if (this.#waiting.size === 0) this.#begin();
    // Each is an entry of its own, should a function be given twice.
    const entry = (silentMillis: number): void => onSilence(silentMillis);
    this.#waiting.add(entry);
    return () => {
      if (this.#waiting.delete(entry) && this.#waiting.size === 0) this.#end();
    };
  }

  /** Notes a sign of life. */
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

  /** Asks on a connection of its own. One that is refused is no sign of life, and tried again. */
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

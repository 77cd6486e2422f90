/** The exits that dockerd has reported and may not have written to its list yet. */
import { mapInParallel } from "../../../lib/parallel.js";

/** How long after an exit the list may lack it; dockerd needs milliseconds. */
const listDelayMillis = 5000;
/** The maximum number of exits that are remembered. */
const maxExits = 1024;

/** The containers whose exit has been reported and may not be listed yet. */
export class UnlistedExits {
  /** When the exit was reported, by id; in the order of these times. */
  readonly #reported = new Map<string, number>();

  /** Records an exit. */
  add(id: string): void {
    this.#reported.delete(id);
    this.#reported.set(id, Date.now());
    if (this.#reported.size <= maxExits) return;
    const [oldest = ""] = this.#reported.keys();
    this.#reported.delete(oldest);
  }

  /** Runs `settle` on each container whose exit may not be listed yet; afterwards it is. */
  async settle(settle: (id: string) => Promise<unknown>): Promise<void> {
    const since = Date.now() - listDelayMillis;
    await mapInParallel([...this.#reported], async ([id, time]) => {
      if (time >= since) await settle(id);
      // It may have exited once more meanwhile.
      if (this.#reported.get(id) === time) this.#reported.delete(id);
    });
  }
}

/** Waits end with their signal. */
import { expect } from "chai";
import { sleep, waitUntil } from "./sleep.js";

describe("sleep", () => {
  it("a wait ends with its signal and leaves no listener behind", async () => {
    const abort = new AbortController();
    const reason = new Error("enough");
    setTimeout(() => abort.abort(reason), 20);
    const waits = [sleep(60_000, abort.signal), waitUntil(Infinity, abort.signal)];
    for (const outcome of await Promise.allSettled(waits)) {
      expect(outcome).to.deep.equal({ status: "rejected", reason });
    }
    await sleep(1, new AbortController().signal);
  });
});

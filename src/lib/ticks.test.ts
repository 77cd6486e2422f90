/** Ticks are pulled by their reader. */
import { expect } from "chai";
import { ticks } from "./ticks.js";

describe("ticks", () => {
  it("leaves out the ticks that a slow reader misses, counts them, and measures none ahead", async () => {
    let measured = 0;
    const measure = async (): Promise<number> => ++measured;
    const abort = new AbortController();
    const stream = ticks(10, measure, abort.signal);
    expect((await stream.next()).value).to.deep.equal({ value: 1, skippedTicks: 0 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { value } = await stream.next();
    expect(value?.value).to.equal(2);
    expect(value?.skippedTicks).to.be.at.least(15);
    abort.abort(new Error("enough"));
    const end = await stream.next().then(
      () => "another tick",
      (error: Error) => error.message,
    );
    expect(end).to.equal("enough");
  });

  it("does not blame the reader for an engine that is slower than the interval", async () => {
    const slow = () => new Promise<void>((resolve) => setTimeout(resolve, 100));
    const stream = ticks(20, slow, new AbortController().signal);
    await stream.next();
    expect((await stream.next()).value?.skippedTicks).to.be.below(4);
    await stream.return(undefined);
  });
});

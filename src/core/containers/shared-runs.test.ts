/** Recordings of runs for calls that come later, and their bounds. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import type { OutputBatch } from "../../../gen/nap/v1/types_pb.js";
import { ExitStatusSchema, OutputBatchSchema, OutputStream } from "../../../gen/nap/v1/types_pb.js";
import type { Run } from "./recording.js";
import { SharedRuns } from "./shared-runs.js";

const { signal } = new AbortController();

/** Returns a run that writes this number of bytes in chunks of 64 KiB and exits with 3. */
function runOf(bytes: number): Run {
  async function* output(): AsyncGenerator<OutputBatch> {
    for (let left = bytes; left > 0; left -= 65_536) {
      const data = new Uint8Array(Math.min(left, 65_536));
      yield create(OutputBatchSchema, { chunks: [{ stream: OutputStream.STDOUT, data }] });
    }
  }
  const exit = create(ExitStatusSchema, { code: 3 });
  return { output: output(), exit: async () => exit, close: () => undefined };
}

async function bytesOf(batches: AsyncIterable<OutputBatch>): Promise<number> {
  let sum = 0;
  for await (const { chunks } of batches) for (const { data } of chunks) sum += data.length;
  return sum;
}

describe("shared runs", () => {
  it("are remembered for ten minutes after their end, the last 10000 of them", async () => {
    let now = 0;
    const runs = new SharedRuns(() => now);
    const finish = async (key: string) => {
      const run = runs.join(key);
      runs.record(run, runOf(10));
      await run.recording?.done;
      runs.leave(run);
      return run;
    };
    const first = await finish("first");
    expect(runs.join("first")).to.equal(first);
    now = 10 * 60 * 1000 + 1;
    expect(runs.join("first")).not.to.equal(first);
    for (let n = 0; n < 10_001; n++) await finish(`run ${n}`);
    expect(runs.join("run 0").recording).to.equal(undefined);
    expect(runs.join("run 1").recording).not.to.equal(undefined);
  });

  it("that are not recorded are forgotten with their last call", () => {
    const runs = new SharedRuns();
    const run = runs.join("key");
    expect(runs.join("key")).to.equal(run);
    expect(runs.leave(run)).to.equal(false);
    expect(runs.leave(run)).to.equal(true);
    expect(runs.join("key")).not.to.equal(run);
    expect(runs.join(undefined)).not.to.equal(runs.join(undefined));
  });

  it("keep 1 MiB of output each and 32 MiB together, and every exit", async () => {
    const runs = new SharedRuns();
    const made = [];
    for (const bytes of [2_000_000, ...Array.from({ length: 40 }, () => 1_000_000)]) {
      const run = runs.join(`run ${made.length}`);
      runs.record(run, runOf(bytes));
      await run.recording?.done;
      made.push(run.recording!);
    }
    expect(made[0]?.isWhole).to.equal(false);
    const whole = made.filter(({ isWhole }) => isWhole);
    expect(whole.length).to.equal(33);
    expect(made.slice(-33)).to.deep.equal(whole);
    for (const recording of whole) expect(await bytesOf(recording.replay(signal))).to.equal(1e6);
    for (const recording of made) expect((await recording.exit(signal)).code).to.equal(3);
    const told = new Map([[OutputStream.STDOUT, 1_999_999]]);
    expect(await made[0]?.isAll(told, signal)).to.equal(false);
    told.set(OutputStream.STDOUT, 2_000_000);
    expect(await made[0]?.isAll(told, signal)).to.equal(true);
  });

  it("take turns, of which a call that is cancelled gives up its own alone", async () => {
    const run = new SharedRuns().join("key");
    const order: string[] = [];
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const first = run.inTurn(signal, () => held);
    const client = new AbortController();
    const second = run.inTurn(client.signal, async () => void order.push("second"));
    const third = run.inTurn(signal, async () => void order.push("third"));
    client.abort(new Error("cancelled"));
    const why = await second.catch((error: unknown) => error);
    expect((why as Error).message).to.equal("cancelled");
    expect(order).to.deep.equal([]);
    release();
    await Promise.all([first, third]);
    expect(order).to.deep.equal(["third"]);
  });
});

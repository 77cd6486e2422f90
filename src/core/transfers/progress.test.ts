/** Progress of uploads and downloads as clients receive it. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import type { TransferProgressBatch } from "../../../gen/nap/v1/types_pb.js";
import { TransferProgressSchema } from "../../../gen/nap/v1/types_pb.js";
import { downloadEvents, UploadProgress, withProgress } from "./progress.js";

const counts = ({ items }: TransferProgressBatch): number[] =>
  items.map(({ currentBytes = 0n }) => Number(currentBytes));

describe("progress of transfers", () => {
  it("of an upload has the last report on each part alone, of the last 1000 parts", () => {
    const progress = new UploadProgress();
    expect(progress.take()).to.equal(undefined);
    for (let bytes = 1; bytes <= 5000; bytes++) progress.received(bytes);
    expect(counts(progress.take()!)).to.deep.equal([5000]);
    expect(progress.take()).to.equal(undefined);
    for (let n = 0; n < 1500; n++) {
      progress.report(create(TransferProgressSchema, { part: `layer-${n}` }));
    }
    const parts = progress.take()!.items.map(({ part }) => part);
    expect([parts.length, parts[0], parts.at(-1)]).to.deep.equal([1000, "layer-500", "layer-1499"]);
  });

  it("is sent at the end of an upload that was short, before its result is returned", async () => {
    const stream = withProgress(
      async (progress) => {
        progress.received(7);
        return "done";
      },
      counts,
      new AbortController().signal,
    );
    expect(await stream.next()).to.deep.equal({ done: false, value: [7] });
    expect(await stream.next()).to.deep.equal({ done: true, value: "done" });
  });

  it("waits for no reader: the work ends while a message waits to be read", async () => {
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    const stream = withProgress(
      async (progress) => {
        progress.received(1);
        await new Promise((resolve) => setTimeout(resolve, 700));
        for (let bytes = 2; bytes <= 100_000; bytes++) progress.received(bytes);
        end();
      },
      counts,
      new AbortController().signal,
    );
    expect((await stream.next()).value).to.deep.equal([1]);
    await ended;
    expect((await stream.next()).value).to.deep.equal([100_000]);
    expect((await stream.next()).done).to.equal(true);
  });

  it("ends with the failure of the work, and ends the work when its reader leaves", async () => {
    const failing = withProgress(
      () => Promise.reject(new Error("full")),
      counts,
      new AbortController().signal,
    );
    const failed = await failing.next().catch((error: unknown) => error);
    expect(failed).to.include({ message: "full" });
    let aborted = false;
    const left = withProgress(
      async (progress, signal) => {
        signal.addEventListener("abort", () => (aborted = true));
        progress.received(1);
        await new Promise(() => undefined);
      },
      counts,
      new AbortController().signal,
    );
    await left.next();
    await left.return(undefined);
    expect(aborted).to.equal(true);
  });

  it("of a download comes every 4 MiB, with the bytes so far", async () => {
    const chunk = new Uint8Array(1024 * 1024);
    const source = async function* () {
      for (let n = 0; n < 9; n++) yield chunk;
    };
    const seen: string[] = [];
    for await (const event of downloadEvents(source())) {
      seen.push(event.case === "data" ? "data" : String(counts(event.value)));
    }
    const four = ["data", "data", "data", "data"];
    const MiB = 1024 * 1024;
    expect(seen).to.deep.equal([...four, `${4 * MiB}`, ...four, `${8 * MiB}`, "data"]);
  });
});

/** The neutral core: pages, waits, labels. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import * as fc from "fast-check";
import { CreateContainerRequestSchema } from "../../gen/nap/v1/container_service_pb.js";
import { LabelFilterSchema } from "../../gen/nap/v1/types_pb.js";
import { local } from "../auth/identity.js";
import { matchesRequest, provenanceLabels } from "../contract/reserved-labels.js";
import { pageOf } from "./lists/page.js";
import { sleep, waitUntil } from "../lib/sleep.js";
import { imageSource } from "../../test/support/source.js";

const listing = {
  key: (key: string) => key,
  load: async (keys: string[]) => keys.map((key) => create(LabelFilterSchema, { key })),
  schema: LabelFilterSchema,
};

describe("core", () => {
  it("pages give every item once, whatever comes and goes between them", async () => {
    const keys = fc.uniqueArray(fc.string({ minLength: 1 }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(keys, keys, fc.integer({ min: 1, max: 7 }), async (stay, gone, pageSize) => {
        const staying = new Set(stay);
        let items = [...new Set([...stay, ...gone])];
        const seen: string[] = [];
        let pageToken = "";
        do {
          const page = await pageOf(items, { pageSize, pageToken }, listing);
          seen.push(...page.items.map(({ key }) => key));
          pageToken = page.nextPageToken;
          items = items.filter((item) => staying.has(item));
        } while (pageToken !== "");
        expect(new Set(seen).size).to.equal(seen.length);
        for (const key of stay) expect(seen).to.include(key);
      }),
    );
  });

  it("a page has no more items than the most, however many are asked for", async () => {
    const items = Array.from({ length: 12 }, (_, index) => String.fromCharCode(97 + index));
    const sizes = { usual: 5, most: 10 };
    for (const [pageSize, expected] of [
      [0, 5],
      [10, 10],
      [2 ** 31 - 1, 10],
    ] as const) {
      const page = await pageOf(items, { pageSize, pageToken: "" }, { ...listing, sizes });
      expect(page.items).to.have.length(expected);
    }
  });

  it("a token is within its bound however long the key, and goes on behind it", async () => {
    const start = "/\u{1d421}€".repeat(1000);
    const items = ["a", "b", "c", "d"].map((end) => start + end);
    const first = await pageOf(items, { pageSize: 2, pageToken: "" }, listing);
    expect(first.nextPageToken.length).to.be.within(1, 1024);
    const { nextPageToken: pageToken } = first;
    const second = await pageOf(items, { pageSize: 0, pageToken }, listing);
    expect(second.items.map(({ key }) => key)).to.deep.equal(items.slice(2));
    // Without the item that the page ended with, nothing that is still there is left out.
    const rest = items.filter((_, index) => index !== 1);
    const third = await pageOf([...rest, "~"], { pageSize: 0, pageToken }, listing);
    expect(third.items.map(({ key }) => key)).to.deep.equal([...rest, "~"]);
  });

  it("a page ends before it is larger than 1 MiB", async () => {
    const items = ["a", "b", "c"].map((letter) => letter.repeat(600_000));
    const first = await pageOf(items, { pageSize: 0, pageToken: "" }, listing);
    expect(first.items).to.have.length(1);
    expect(first.nextPageToken).not.to.equal("");
  });

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

  it("knows a request again though its maps come in another order", () => {
    const schema = CreateContainerRequestSchema;
    const request = (labels: Record<string, string>) =>
      create(schema, { requestId: "r", spec: { source: imageSource("a"), labels } });
    const labels = provenanceLabels(schema, request({ a: "1", b: "2" }), local);
    expect(matchesRequest(schema, request({ b: "2", a: "1" }), local, labels)).to.equal(true);
    expect(() => matchesRequest(schema, request({ a: "1", b: "3" }), local, labels)).to.throw(
      /another request/,
    );
    expect(matchesRequest(schema, create(schema, {}), local, labels)).to.equal(false);
  });

  it("knows a request_id as the one who used it alone", () => {
    const schema = CreateContainerRequestSchema;
    const request = create(schema, { requestId: "r" });
    const labels = provenanceLabels(schema, request, local);
    const other = { ...local, name: "other" };
    expect(matchesRequest(schema, request, other, labels)).to.equal(false);
    const reused = create(schema, { requestId: "r", name: "n" });
    expect(matchesRequest(schema, reused, other, labels)).to.equal(false);
  });
});

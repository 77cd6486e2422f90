/** Pages of lists give every item once, within the size of an answer. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import * as fc from "fast-check";
import { LabelFilterSchema } from "../../../gen/nap/v1/types_pb.js";
import { pageOf } from "./page.js";

const listing = {
  key: (key: string) => key,
  load: async (keys: string[]) => keys.map((key) => create(LabelFilterSchema, { key })),
  schema: LabelFilterSchema,
};

describe("pages", () => {
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
});

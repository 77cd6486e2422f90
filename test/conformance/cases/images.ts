/** Images. */
import { buffer } from "node:stream/consumers";
import { expect } from "chai";
import { pack } from "tar-stream";
import { status as Code } from "@grpc/grpc-js";
import { ListView } from "../../../gen/nap/v1/types_pb.js";
import type { Bench } from "../bench.js";
import { failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { all, bytesOf, resultOf } from "../../support/client.js";
import { imageSource } from "../../support/requests/source.js";

const chunkBytes = 256 * 1024;

/** The messages that import an archive. */
export function* importMessages(engine: string, open: object, archive: Buffer) {
  yield { payload: { case: "open" as const, value: { ...open, engine } } };
  for (let at = 0; at < archive.length; at += chunkBytes) {
    const value = new Uint8Array(archive.subarray(at, at + chunkBytes));
    yield { payload: { case: "data" as const, value } };
  }
}

export function imageCases(test: ConformanceTest): void {
  test(
    "image.imports-an-archive-with-its-configuration",
    "imports an archive with its configuration and runs it",
    async (bench) => {
      const { nap, engine } = bench;
      const reference = await imported(bench, ['CMD ["echo", "from the image"]', "ENV A=b"]);
      const { image } = await nap.images.getImage({ engine, image: reference });
      expect(image?.tags).to.deep.equal([reference]);
      expect(image?.config?.command?.arguments).to.deep.equal(["echo", "from the image"]);
      expect(image?.config?.environment).to.deep.equal({ A: "b" });
      expect(image?.platform?.os).to.equal("linux");
      const spec = { source: imageSource(reference) } as object;
      const { stdout } = await bench.run(spec, "echo $A; cat /data/seed");
      expect(stdout).to.equal("b\nfrom the image\n");
    },
  );

  test(
    "image.refuses-to-import-no-archive",
    "refuses an archive that is none, and one that is empty",
    async ({ nap, engine }) => {
      for (const archive of [Buffer.alloc(2000, "not a tar"), Buffer.alloc(0)]) {
        const error = await failure(
          resultOf(nap.images.importImage(importMessages(engine, {}, archive))),
        );
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "ARCHIVE_INVALID" });
      }
    },
  );

  test(
    "image.counts-the-bytes-of-an-import-while-they-come",
    "counts the bytes of an import while they come, and answers with the result last",
    async (bench) => {
      const { nap, engine, rootfs } = bench;
      const reference = `${bench.name("nap-import")}:1`;
      const [open, first, ...others] = importMessages(engine, { reference }, rootfs);
      bench.cleanUp(() => nap.images.removeImage({ engine, image: reference, force: true }));
      let onCount = (): void => undefined;
      const counted = new Promise<void>((resolve) => (onCount = resolve));
      const requests = async function* () {
        yield* [open!, first!];
        await counted;
        yield* others;
      };
      const counts: bigint[] = [];
      let last: string | undefined;
      for await (const { event } of nap.images.importImage(requests())) {
        last = event.case;
        if (event.case !== "progress") continue;
        for (const { currentBytes = 0n } of event.value.items) counts.push(currentBytes);
        onCount();
      }
      expect(counts[0]).to.equal(BigInt(chunkBytes));
      expect(counts.at(-1)).to.equal(BigInt(rootfs.length));
      expect(last).to.equal("result");
    },
  );

  test(
    "image.tags-finds-and-removes-by-reference",
    "tags an image, finds it by either reference, and removes one after the other",
    async (bench) => {
      const { nap, engine } = bench;
      const image = await imported(bench, []);
      const reference = `${bench.name("nap-again")}:2`;
      await nap.images.tagImage({ engine, image, reference });
      const ids = [];
      for (const name of [image, reference]) {
        ids.push((await nap.images.getImage({ engine, image: name })).image?.id);
      }
      expect(ids[0]).to.equal(ids[1]);
      const first = await nap.images.removeImage({ engine, image });
      expect({ ...first }).to.deep.include({ untaggedReferences: [image], deletedIds: [] });
      const second = await nap.images.removeImage({ engine, image: reference });
      expect(second.deletedIds).to.include(ids[0]);
      const gone = await failure(nap.images.getImage({ engine, image }));
      expect(gone).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
    },
  );

  test(
    "image.refuses-to-remove-one-in-use",
    "refuses to remove an image that containers use, and names them",
    async (bench) => {
      const { nap, engine } = bench;
      const image = await imported(bench, []);
      const { name } = await bench.create({ source: imageSource(image) } as object);
      const error = await failure(nap.images.removeImage({ engine, image }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "RESOURCE_IN_USE" });
      expect(error.subjects).to.deep.equal([name]);
    },
  );

  test(
    "image.tells-its-history-and-prunes",
    "tells an image's history, and prunes what has no reference",
    async (bench) => {
      const { nap, engine } = bench;
      const reference = await imported(bench, [`LABEL mark=${bench.name("mark")}`]);
      const { entries } = await nap.images.getImageHistory({ engine, image: reference });
      expect(entries).to.have.length(1);
      expect(entries[0]?.tags).to.deep.equal([reference]);
      const { image } = await nap.images.getImage({ engine, image: reference });
      await resultOf(nap.images.importImage(importMessages(engine, { reference }, bench.rootfs)));
      const labels = [{ key: "mark", value: image?.labels["mark"] ?? "" }];
      const { createTime: createdBefore } = image ?? {};
      const untagged = async (part: object): Promise<string[]> => {
        const filter = { labels, untagged: true, ...part };
        return (await nap.images.listImages({ engine, filter })).images.map(({ id }) => id);
      };
      expect(await untagged({})).to.deep.equal([image?.id]);
      expect(await untagged({ untagged: false })).to.deep.equal([]);
      expect(await untagged({ createdBefore })).to.deep.equal([]);
      expect(await untagged({ excludedLabels: labels })).to.deep.equal([]);
      const none = await nap.images.pruneImages({ engine, filter: { labels, createdBefore } });
      expect(none.deletedIds).to.deep.equal([]);
      const { deletedIds } = await nap.images.pruneImages({ engine, filter: { labels } });
      expect(deletedIds).to.include(image?.id);
    },
  );

  test(
    "image.lists-by-reference-in-both-views",
    "lists images by reference, in both views",
    async (bench) => {
      const { nap, engine } = bench;
      const reference = await imported(bench, ["LABEL nap=1"]);
      const filter = { references: [reference] };
      for (const view of [ListView.BASIC, ListView.FULL]) {
        const { images } = await nap.images.listImages({ engine, filter, view });
        expect(images.map(({ tags }) => tags)).to.deep.equal([[reference]]);
        expect(images[0]?.labels).to.deep.equal({ nap: "1" });
        expect(images[0]?.config !== undefined).to.equal(view === ListView.FULL);
      }
    },
  );

  test(
    "image.saves-two-and-loads-them-again",
    "saves two images in one archive, and loads them again with their ids",
    async (bench) => {
      const { nap, engine } = bench;
      const images = [await imported(bench, ["ENV A=1"]), await imported(bench, ["ENV A=2"])];
      const idOf = async (image: string) =>
        (await nap.images.getImage({ engine, image })).image?.id;
      const ids = await Promise.all(images.map(idOf));
      const archive = await bytesOf(nap.images.saveImages({ engine, images }));
      for (const image of images) await nap.images.removeImage({ engine, image });
      const loaded = await resultOf(nap.images.loadImages(loadMessages(engine, archive)));
      expect(loaded.images).to.have.members(images);
      expect(await Promise.all(images.map(idOf))).to.deep.equal(ids);
    },
  );

  test(
    "image.saves-nothing-where-one-is-missing",
    "saves nothing where one of the images is not there",
    async (bench) => {
      const { nap, engine } = bench;
      const images = [await imported(bench, []), "no-such:1"];
      const error = await failure(all(nap.images.saveImages({ engine, images })));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
    },
  );

  test(
    "image.refuses-to-load-no-archive",
    "refuses to load what is no archive, one without images, a part of one, and nothing",
    async (bench) => {
      const { nap, engine, rootfs } = bench;
      const image = await imported(bench, []);
      const whole = await bytesOf(nap.images.saveImages({ engine, images: [image] }));
      await nap.images.removeImage({ engine, image });
      const half = whole.subarray(0, Math.floor(whole.length / 2));
      for (const archive of [Buffer.alloc(2000, "not a tar"), rootfs, half, Buffer.alloc(0)]) {
        const error = await failure(resultOf(nap.images.loadImages(loadMessages(engine, archive))));
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "ARCHIVE_INVALID" });
      }
      const gone = await failure(nap.images.getImage({ engine, image }));
      expect(gone.reason).to.equal("IMAGE_NOT_FOUND");
    },
  );

  test(
    "image.saves-and-loads-a-removed-one",
    "saves an image, and loads it again with its reference after it was removed",
    async (bench) => {
      const { nap, engine } = bench;
      const reference = await imported(bench, []);
      const before = await nap.images.getImage({ engine, image: reference });
      const archive = await bytesOf(nap.images.saveImages({ engine, images: [reference] }));
      await nap.images.removeImage({ engine, image: reference });
      const loaded = await resultOf(nap.images.loadImages(loadMessages(engine, archive)));
      expect(loaded.images).to.deep.equal([reference]);
      const after = await nap.images.getImage({ engine, image: reference });
      expect(after.image?.id).to.equal(before.image?.id);
      expect(after.image?.config).to.deep.equal(before.image?.config);
    },
  );

  test(
    "image.builds-from-a-dockerfile",
    "builds an image from a Dockerfile and runs it",
    async (bench) => {
      const { nap, engine } = bench;
      const tag = `${bench.name("nap-build")}:1`;
      const context = pack();
      const lines = [`FROM ${bench.image}`, "COPY a-file /copied", "RUN echo made >/made"];
      context.entry({ name: "Dockerfile" }, `${lines.join("\n")}\n`);
      context.entry({ name: "a-file" }, "from the context\n");
      context.finalize();
      const messages = importMessages(engine, { tags: [tag] }, await buffer(context));
      bench.cleanUp(() => nap.images.removeImage({ engine, image: tag, force: true }));
      let imageId = "";
      for await (const { event } of nap.images.buildImage(messages)) {
        if (event.case === "result") imageId = event.value.imageId;
      }
      expect((await nap.images.getImage({ engine, image: tag })).image?.id).to.equal(imageId);
      const { stdout } = await bench.runImage(tag, {}, ["cat", "/copied", "/made"]);
      expect(stdout).to.equal("from the context\nmade\n");
    },
  );
}

/** The messages that load an archive. */
const loadMessages = (engine: string, archive: Buffer) => importMessages(engine, {}, archive);

async function imported(bench: Bench, instructions: string[]): Promise<string> {
  const { nap, engine, rootfs } = bench;
  const reference = `${bench.name("nap-import")}:1`;
  await resultOf(
    nap.images.importImage(importMessages(engine, { reference, instructions }, rootfs)),
  );
  bench.cleanUp(() => nap.images.removeImage({ engine, image: reference, force: true }));
  return reference;
}

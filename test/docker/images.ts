/** Images that move: archives, registries, builds. */

import { buffer } from "node:stream/consumers";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { pack } from "tar-stream";

import { eventually } from "../conformance/bench.js";
import { importMessages } from "../conformance/images.js";
import { all, failure } from "../support/client.js";
import type { Clients } from "../support/nap.js";

import type { DockerBench } from "./cases.js";

const engine = "docker";
const chunkBytes = 256 * 1024;

/** A small image of its own: one file, nothing that runs. */
async function smallImage({ nap, bench }: DockerBench, reference: string): Promise<string> {
  const archive = await tar({ mark: `${reference}\n` });
  const { imageId } = await nap.images.importImage(importMessages(engine, { reference }, archive));
  bench.cleanUp(() => nap.images.removeImage({ engine, image: reference, force: true }));
  return imageId;
}

async function tar(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const archive = pack();
  for (const [name, content] of Object.entries(files)) {
    archive.entry({ name, mtime: new Date(0) }, content);
  }
  archive.finalize();
  return buffer(archive);
}

async function saved(nap: Clients, images: string[]): Promise<Buffer> {
  const parts = await all(nap.images.saveImages({ engine, images }));
  return Buffer.concat(parts.map(({ data }) => data));
}

function* loadMessages(archive: Buffer) {
  for (let at = 0; at < archive.length; at += chunkBytes) {
    const data = new Uint8Array(archive.subarray(at, at + chunkBytes));
    yield { ...(at === 0 && { engine }), data };
  }
}

/** Declares the cases. `open` gives their bench when the tests run. */
export function imageCases(open: () => DockerBench): void {
  describe("archives", () => archiveCases(open));
}

function archiveCases(open: () => DockerBench): void {
  it("saves two images in one archive, and loads them again as they were", async () => {
    const { nap, bench } = open();
    const images = [`${bench.name("nap-save")}:1`, `${bench.name("nap-save")}:2`];
    const ids: string[] = [];
    for (const image of images) ids.push(await smallImage(open(), image));
    const archive = await saved(nap, images);
    for (const image of images) await nap.images.removeImage({ engine, image });
    for (const image of ids) {
      expect((await failure(nap.images.getImage({ engine, image }))).reason).to.equal(
        "IMAGE_NOT_FOUND",
      );
    }
    const loaded = await nap.images.loadImages(loadMessages(archive));
    expect(loaded.images.toSorted()).to.deep.equal(images);
    for (const [index, image] of images.entries()) {
      const found = await nap.images.getImage({ engine, image });
      expect(found.image?.id).to.equal(ids[index]);
    }
    await bench.tidy();
  });

  it("loads an image that was saved by its id, and says its id", async () => {
    const { nap, bench } = open();
    const image = `${bench.name("nap-save")}:1`;
    const id = await smallImage(open(), image);
    const archive = await saved(nap, [id]);
    await nap.images.removeImage({ engine, image });
    bench.cleanUp(() => nap.images.removeImage({ engine, image: id }));
    const { images } = await nap.images.loadImages(loadMessages(archive));
    expect(images).to.deep.equal([id]);
    await bench.tidy();
  });

  it("saves nothing where one of the images is missing, and names that one", async () => {
    const { nap, bench } = open();
    const missing = bench.name("nap-missing");
    const stream = nap.images.saveImages({ engine, images: [bench.image, missing] });
    const error = await failure(stream.next());
    expect(error).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
    expect(error.resource?.resourceName).to.equal(missing);
  });

  it("refuses to save one platform of an image, which this dockerd cannot", async () => {
    const { nap, bench } = open();
    const platform = { os: "linux", architecture: "amd64" };
    const request = { engine, images: [bench.image], platform };
    const error = await failure(all(nap.images.saveImages(request)));
    expect(error.reason).to.equal("FIELD_UNSUPPORTED_BY_ENGINE");
    expect(error.fields).to.deep.equal(["platform"]);
  });

  it("refuses to load what is no archive, half of one, or nothing", async () => {
    const { nap, bench } = open();
    const image = `${bench.name("nap-half")}:1`;
    const id = await smallImage(open(), image);
    const archive = await saved(nap, [image]);
    await nap.images.removeImage({ engine, image });
    const garbage = Buffer.alloc(5000, "not a tar");
    const other = await tar({ "a-file": "of no image\n" });
    for (const bytes of [garbage, archive.subarray(0, 2000), other]) {
      const error = await failure(nap.images.loadImages(loadMessages(bytes)));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "ARCHIVE_INVALID" });
    }
    const nothing = await failure(nap.images.loadImages([{ engine }]));
    expect(nothing).to.include({ code: Code.INVALID_ARGUMENT, reason: "ARCHIVE_INVALID" });
    expect((await failure(nap.images.getImage({ engine, image: id }))).reason).to.equal(
      "IMAGE_NOT_FOUND",
    );
    await bench.tidy();
  });

  it("loads nothing of an upload that breaks off", async () => {
    const { nap, bench } = open();
    const image = `${bench.name("nap-broken")}:1`;
    const id = await smallImage(open(), image);
    const archive = await saved(nap, [image]);
    await nap.images.removeImage({ engine, image });
    const client = new AbortController();
    let sent = false;
    const messages = async function* () {
      yield* loadMessages(archive.subarray(0, archive.length / 2));
      sent = true;
      await new Promise(() => undefined);
    };
    const load = failure(nap.images.loadImages(messages(), { signal: client.signal }));
    await eventually(() => sent);
    client.abort();
    expect(await load).to.include({ code: Code.CANCELLED });
    // What is loaded later is loaded after whatever the first one would have been.
    const next = `${bench.name("nap-next")}:1`;
    await smallImage(open(), next);
    await nap.images.loadImages(loadMessages(await saved(nap, [next])));
    expect((await failure(nap.images.getImage({ engine, image: id }))).reason).to.equal(
      "IMAGE_NOT_FOUND",
    );
    await bench.tidy();
  });
}

/** Images that move: archives, registries, builds. */

import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { pack } from "tar-stream";

import type { BuildImageResponse } from "../../gen/nap/v1/image_service_pb.js";
import { eventually } from "../conformance/bench.js";
import { importMessages } from "../conformance/cases/images.js";
import { all, bytesOf, failure, resultOf } from "../support/client.js";
import type { Clients } from "../support/engines/nap.js";

import { connectionsTo } from "../support/connections.js";
import { startNap } from "../support/engines/nap.js";
import type { DockerBench } from "./cases.js";

const engine = "docker";

/** A small image of its own: one file, nothing that runs. */
async function smallImage({ nap, bench }: DockerBench, reference: string): Promise<string> {
  const archive = await tar({ mark: `${reference}\n` });
  const { imageId } = await resultOf(
    nap.images.importImage(importMessages(engine, { reference }, archive)),
  );
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

function saved(nap: Clients, images: string[]): Promise<Buffer> {
  return bytesOf(nap.images.saveImages({ engine, images }));
}

const loadMessages = (archive: Buffer) => importMessages(engine, {}, archive);

/** Declares the cases. `open` gives their bench when the tests run. */
export function imageCases(open: () => DockerBench): void {
  describe("archives", () => archiveCases(open));
  describe("pushes", () => pushCases(open));
  describe("builds", () => buildCases(open));
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
    const stream = nap.images.loadImages(loadMessages(archive));
    const events = (await all(stream)).map(({ event }) => event);
    const reports = events.flatMap((each) => (each.case === "progress" ? each.value.items : []));
    const layers = reports.filter(({ phase }) => phase === "Loading layer");
    expect(new Set(layers.map(({ part }) => part)).size).to.equal(images.length);
    expect(reports.findLast(({ part }) => part === "")).to.deep.include({
      phase: "Receiving",
      currentBytes: BigInt(archive.length),
    });
    const [loaded] = events
      .slice(-1)
      .map((each) => (each.case === "result" ? each.value : undefined));
    expect(loaded?.images).to.have.members(images);
    for (const [index, image] of images.entries()) {
      const found = await nap.images.getImage({ engine, image });
      expect(found.image?.id).to.equal(ids[index]);
    }
  });

  it("loads an image that was saved by its id, and says its id", async () => {
    const { nap, bench } = open();
    const image = `${bench.name("nap-save")}:1`;
    const id = await smallImage(open(), image);
    const archive = await saved(nap, [id]);
    await nap.images.removeImage({ engine, image });
    bench.cleanUp(() => nap.images.removeImage({ engine, image: id }));
    const { images } = await resultOf(nap.images.loadImages(loadMessages(archive)));
    expect(images).to.deep.equal([id]);
  });

  it("saves nothing where one of the images is missing, and names that one", async () => {
    const { nap, bench } = open();
    const missing = bench.name("nap-missing");
    const stream = nap.images.saveImages({ engine, images: [bench.image, missing] });
    const error = await failure(stream.next());
    expect(error).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
    expect(error.resource?.resourceName).to.equal(missing);
  });

  it("closes its connections to dockerd when clients cancel that have not read an archive", async () => {
    const { dockerd, nap, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "save-"));
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    const own = await startNap(directory, { engines: { docker } });
    // Larger than all the buffers on the way.
    const image = `${bench.name("nap-large")}:1`;
    const archive = await tar({ large: "x".repeat(48 * 1024 * 1024) });
    await resultOf(nap.images.importImage(importMessages(engine, { reference: image }, archive)));
    bench.cleanUp(() => nap.images.removeImage({ engine, image, force: true }));
    const client = new AbortController();
    const { signal } = client;
    const streams = Array.from({ length: 4 }, () =>
      own.images.saveImages({ engine, images: [image] }, { signal }),
    );
    for (const stream of streams) await stream.next();
    const during = connectionsTo(dockerd, own);
    expect(during).to.be.at.least(streams.length);
    client.abort();
    for (const stream of streams) {
      expect(await failure(all(stream))).to.include({ code: Code.CANCELLED });
    }
    // The server itself may have begun another one meanwhile.
    const after = during - streams.length + 1;
    await eventually(() => (connectionsTo(dockerd, own) <= after ? true : undefined));
    expect(await own.stop()).to.equal(0);
  }).timeout(60_000);

  it("refuses to save one platform of an image, which this dockerd cannot", async () => {
    const { nap, bench } = open();
    const platform = { os: "linux", architecture: "amd64" };
    const request = { engine, images: [bench.image], platform };
    const error = await failure(all(nap.images.saveImages(request)));
    expect(error.reason).to.equal("FIELD_UNSUPPORTED");
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
      const error = await failure(resultOf(nap.images.loadImages(loadMessages(bytes))));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "ARCHIVE_INVALID" });
    }
    const nothing = await failure(resultOf(nap.images.loadImages(loadMessages(Buffer.alloc(0)))));
    expect(nothing).to.include({ code: Code.INVALID_ARGUMENT, reason: "ARCHIVE_INVALID" });
    expect((await failure(nap.images.getImage({ engine, image: id }))).reason).to.equal(
      "IMAGE_NOT_FOUND",
    );
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
    const load = failure(resultOf(nap.images.loadImages(messages(), { signal: client.signal })));
    await eventually(() => sent);
    client.abort();
    expect(await load).to.include({ code: Code.CANCELLED });
    // What is loaded later is loaded after whatever the first one would have been.
    const next = `${bench.name("nap-next")}:1`;
    await smallImage(open(), next);
    await resultOf(nap.images.loadImages(loadMessages(await saved(nap, [next]))));
    expect((await failure(nap.images.getImage({ engine, image: id }))).reason).to.equal(
      "IMAGE_NOT_FOUND",
    );
  });
}

function login(password: string) {
  const value = { username: "nap", password };
  return { kind: { case: "login" as const, value } };
}

function pushCases(open: () => DockerBench): void {
  it("pushes with a password, and pulls the image back by the digest told", async () => {
    const { dockerd, nap, bench } = open();
    const name = `${dockerd.authRegistry}/nap/${bench.name("pushed")}`;
    const image = `${name}:1`;
    const id = await smallImage(open(), image);
    const registryCredentials = login("secret");
    const seen = await all(nap.images.pushImage({ engine, image, registryCredentials }));
    const last = seen.at(-1)?.event;
    if (last?.case !== "result") throw new Error("there is no result");
    expect(last.value).to.include({ image, imageId: id, changed: false });
    const phases = seen.flatMap(({ event }) =>
      event.case === "progress" ? event.value.items.map(({ phase }) => phase) : [],
    );
    expect(phases).to.include("Pushed");
    await nap.images.removeImage({ engine, image });
    const byDigest = `${name}@${last.value.digest}`;
    await all(nap.images.pullImage({ engine, image: byDigest, registryCredentials }));
    bench.cleanUp(() => nap.images.removeImage({ engine, image: byDigest }));
    const found = await nap.images.getImage({ engine, image: byDigest });
    expect(found.image?.id).to.equal(id);
  });

  it("wants credentials for a push where the registry does, and keeps them to itself", async () => {
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "push-"));
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    const nap = await startNap(directory, { engines: { docker } });
    const image = `${dockerd.authRegistry}/nap/${bench.name("refused")}:1`;
    await smallImage(open(), image);
    const wrong = "not-the-password";
    for (const request of [{ image }, { image, registryCredentials: login(wrong) }]) {
      const error = await failure(all(nap.images.pushImage({ engine, ...request })));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION });
      expect(error.reason).to.equal("REGISTRY_AUTH_REQUIRED");
      expect(JSON.stringify([error.message, error.info])).not.to.include(wrong);
    }
    expect(await nap.stop()).to.equal(0);
    expect(nap.output().join("\n")).to.include("PushImage").and.not.to.include(wrong);
  });

  it("says that the registry of a push does not answer, and refuses a digest", async () => {
    const { nap, bench } = open();
    const image = `127.0.0.1:9/nap/${bench.name("nowhere")}:1`;
    await smallImage(open(), image);
    const error = await failure(all(nap.images.pushImage({ engine, image })));
    expect(error).to.include({ code: Code.UNAVAILABLE, reason: "REGISTRY_UNREACHABLE" });
    const digest = { engine, image: `${bench.image}@sha256:${"0".repeat(64)}` };
    expect((await failure(all(nap.images.pushImage(digest)))).fields).to.deep.equal(["image"]);
  });
}

function* buildMessages(open: object, context: Buffer) {
  yield* importMessages(engine, open, context);
}

function builtOf(seen: readonly BuildImageResponse[]) {
  const last = seen.at(-1)?.event;
  if (last?.case !== "result") throw new Error("there is no result");
  return last.value;
}

function outputOf(seen: readonly BuildImageResponse[]): string {
  return seen
    .map(({ event }) => (event.case === "output" ? Buffer.from(event.value.data).toString() : ""))
    .join("");
}

/** Counts the containers that are there later and not now, whether they run or not. */
async function newContainers({ containers }: Clients): Promise<() => Promise<number>> {
  const ids = async () => (await containers.listContainers({ engine })).containers.map((c) => c.id);
  const before = new Set(await ids());
  return async () => (await ids()).filter((id) => !before.has(id)).length;
}

function buildCases(open: () => DockerBench): void {
  it("builds one stage with arguments, labels and files, and takes it from the cache again", async () => {
    const { nap, bench } = open();
    const tag = `${bench.name("nap-built")}:1`;
    const context = await tar({
      "sub/Recipe": [
        `FROM ${bench.image} AS first`,
        "ARG word",
        "COPY a-file /copied",
        "RUN echo $word >/word; grep other-host /etc/hosts >/hosts",
        "FROM first AS second",
        "RUN exit 7",
        "",
      ].join("\n"),
      "a-file": "from the context\n",
    });
    const request = {
      tags: [tag, `${tag}-again`],
      dockerfile: "sub/Recipe",
      buildArguments: { word: "given" },
      labels: { made: "by nap" },
      target: "first",
      extraHosts: { "other-host": "192.0.2.7" },
      network: "none",
      memoryLimitBytes: 67_108_864n,
      shmSizeBytes: 1_048_576n,
    };
    const seen = await all(nap.images.buildImage(buildMessages(request, context)));
    for (const image of request.tags) {
      bench.cleanUp(() => nap.images.removeImage({ engine, image, force: true }));
    }
    const { imageId, tags } = builtOf(seen);
    expect(tags.toSorted()).to.deep.equal(request.tags);
    const { image } = await nap.images.getImage({ engine, image: tag });
    expect(image?.id).to.equal(imageId);
    expect(image?.labels).to.deep.equal({ made: "by nap" });
    const script = "cat /word /copied /hosts";
    const { stdout } = await bench.runImage(tag, {}, ["sh", "-c", script]);
    expect(stdout).to.match(/^given\nfrom the context\n192\.0\.2\.7\s+other-host\n$/);
    const again = await all(nap.images.buildImage(buildMessages(request, context)));
    expect(builtOf(again).imageId).to.equal(imageId);
    expect(outputOf(again)).to.include("Using cache");
    const anew = { ...request, noCache: true };
    const fresh = await all(nap.images.buildImage(buildMessages(anew, context)));
    expect(outputOf(fresh)).not.to.include("Using cache");
    expect(builtOf(fresh).imageId).not.to.equal(imageId);
  }).timeout(120_000);

  it("tells the exit code and the last output of the step that failed, and leaves nothing of it", async () => {
    const { nap, bench } = open();
    const script = "echo unauthorized; echo the last words; exit 3";
    const context = await tar({ Dockerfile: `FROM ${bench.image}\nRUN ${script}\n` });
    const added = await newContainers(nap);
    const error = await failure(all(nap.images.buildImage(buildMessages({}, context))));
    expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "BUILD_FAILED" });
    expect(error.message).to.include("exited with 3").and.include("the last words");
    expect(error.info?.metadata["engine_message"]).to.include("returned a non-zero code: 3");
    expect(await added()).to.equal(0);
  }).timeout(60_000);

  it("fails a build whose Dockerfile or options are wrong, and refuses a context that is none", async () => {
    const { nap, bench } = open();
    for (const [dockerfile, words] of [
      ["NONSENSE\n", "NONSENSE"],
      [`FROM ${bench.image}\nCOPY no-such-file /\n`, "no-such-file"],
    ] as const) {
      const context = await tar({ Dockerfile: dockerfile });
      const error = await failure(all(nap.images.buildImage(buildMessages({}, context))));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "BUILD_FAILED" });
      expect(error.message).to.include(words);
    }
    const context = await tar({ Dockerfile: `FROM ${bench.image}\nRUN true\n` });
    for (const [request, reason, words] of [
      [{ tags: ["UPPER:1"] }, "BUILD_FAILED", "must be lowercase"],
      [{ dockerfile: "../outside" }, "BUILD_FAILED", "outside the build context"],
      [{ target: "no-such-stage" }, "BUILD_FAILED", "no-such-stage"],
      [{ network: "no-such-network" }, "NETWORK_NOT_FOUND", "no-such-network"],
      [{ memoryLimitBytes: 1n }, "BUILD_FAILED", "6MB"],
    ] as const) {
      const error = await failure(all(nap.images.buildImage(buildMessages(request, context))));
      expect(error).to.include({ reason });
      expect(error.message).to.include(words);
    }
    const missing = await tar({ "a-file": "" });
    const none = await failure(all(nap.images.buildImage(buildMessages({}, missing))));
    expect(none.reason).to.equal("BUILD_FAILED");
    for (const context of [Buffer.alloc(5000, "not a tar"), Buffer.alloc(0)]) {
      const error = await failure(all(nap.images.buildImage(buildMessages({}, context))));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "ARCHIVE_INVALID" });
    }
  });

  it("shows what a step writes while it runs, and ends it when the client cancels", async () => {
    const { nap, bench } = open();
    const tag = `${bench.name("nap-cancelled")}:1`;
    const script = "echo it begins; sleep 1000";
    const context = await tar({ Dockerfile: `FROM ${bench.image}\nRUN ${script}\n` });
    const added = await newContainers(nap);
    const client = new AbortController();
    let text = "";
    const request = buildMessages({ tags: [tag] }, context);
    const reading = (async () => {
      for await (const { event } of nap.images.buildImage(request, { signal: client.signal })) {
        if (event.case === "output") text += Buffer.from(event.value.data).toString();
      }
    })();
    const ended = failure(reading);
    await eventually(() => text.includes("\nit begins"));
    expect(await added()).to.equal(1);
    client.abort();
    expect(await ended).to.include({ code: Code.CANCELLED });
    await eventually(async () => (await added()) === 0);
    const gone = await failure(nap.images.getImage({ engine, image: tag }));
    expect(gone.reason).to.equal("IMAGE_NOT_FOUND");
  }).timeout(60_000);

  it("builds nothing of a context that breaks off", async () => {
    const { nap, bench } = open();
    const tag = `${bench.name("nap-broken")}:1`;
    const dockerfile = `FROM ${bench.image}\nLABEL a=b\n`;
    const context = await tar({ Dockerfile: dockerfile, big: "x".repeat(1_000_000) });
    const client = new AbortController();
    let sent = false;
    const messages = async function* () {
      yield* buildMessages({ tags: [tag] }, context.subarray(0, 600_000));
      sent = true;
      await new Promise(() => undefined);
    };
    const build = failure(all(nap.images.buildImage(messages(), { signal: client.signal })));
    await eventually(() => sent);
    client.abort();
    expect(await build).to.include({ code: Code.CANCELLED });
    const whole = `${tag}-whole`;
    bench.cleanUp(() => nap.images.removeImage({ engine, image: whole, force: true }));
    await all(nap.images.buildImage(buildMessages({ tags: [whole] }, context)));
    const gone = await failure(nap.images.getImage({ engine, image: tag }));
    expect(gone.reason).to.equal("IMAGE_NOT_FOUND");
  }).timeout(60_000);

  it("builds on an image of a registry that wants credentials, and shows its pull", async () => {
    const { dockerd, nap, bench } = open();
    const base = `${dockerd.authRegistry}/nap/${bench.name("base")}:1`;
    await smallImage(open(), base);
    const registryCredentials = login("secret");
    await all(nap.images.pushImage({ engine, image: base, registryCredentials }));
    await nap.images.removeImage({ engine, image: base });
    const context = await tar({ Dockerfile: `FROM ${base}\nLABEL a=b\n` });
    const tag = `${bench.name("nap-on")}:1`;
    bench.cleanUp(() => nap.images.removeImage({ engine, image: tag, force: true }));
    const none = await failure(all(nap.images.buildImage(buildMessages({ tags: [tag] }, context))));
    expect(none.reason).to.equal("REGISTRY_AUTH_REQUIRED");
    // In base64 the second password has the characters in which its two alphabets differ.
    const credentials = { [dockerd.authRegistry]: registryCredentials, other: login("???>>>~~~") };
    const request = { tags: [tag], pull: true, registryCredentials: credentials };
    const seen = await all(nap.images.buildImage(buildMessages(request, context)));
    expect(seen.map(({ event }) => event.case)).to.include("progress");
    expect(builtOf(seen).tags).to.deep.equal([tag]);
  }).timeout(60_000);
}

/** Files of containers: described, read, written and exported as archives. */
import { createHash, randomBytes } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { extract, pack } from "tar-stream";
import { FileKind } from "../../../gen/nap/v1/types_pb.js";
import { failure as failureOf, resultOf } from "../../support/client.js";
import type { Bench } from "../bench.js";
import { failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";

const chunkBytes = 256 * 1024;
const mtime = new Date(1_500_000_000_000);

/** What is told of an entry of an archive. */
interface Entry {
  readonly name: string;
  readonly type?: "file" | "directory" | "symlink" | "link";
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly linkname?: string;
  readonly content?: Buffer;
}

/** An archive of these entries. */
export async function archiveOf(entries: readonly Entry[]): Promise<Buffer> {
  const tar = pack();
  for (const { content, ...header } of entries) {
    // Whatever has no content ends at once.
    tar.entry({ mtime, ...header }, content ?? Buffer.alloc(0));
  }
  tar.finalize();
  return buffer(tar);
}

/** The messages that write an archive. */
export function* uploadMessages(
  target: { engine: string; container: string },
  open: { path: string; allowTypeChange?: boolean },
  archive: Buffer,
  close: { sizeBytes?: bigint; sha256?: Uint8Array } = {},
) {
  yield { payload: { case: "open" as const, value: { ...target, ...open } } };
  for (let at = 0; at < archive.length; at += chunkBytes) {
    const value = new Uint8Array(archive.subarray(at, at + chunkBytes));
    yield { payload: { case: "data" as const, value } };
  }
  const sizeBytes = BigInt(archive.length);
  const sha256 = new Uint8Array(createHash("sha256").update(archive).digest());
  yield { payload: { case: "close" as const, value: { sizeBytes, sha256, ...close } } };
}

async function write(
  { nap, engine }: Bench,
  container: string,
  open: Parameters<typeof uploadMessages>[1],
  archive: Buffer,
  close?: Parameters<typeof uploadMessages>[3],
): Promise<void> {
  const messages = uploadMessages({ engine, container }, open, archive, close);
  await resultOf(nap.containers.writeContainerArchive(messages));
}

/** The entries of the archive of a path; what a stream of an archive's bytes has. */
async function read({ nap, engine }: Bench, container: string, path: string): Promise<Entry[]> {
  const chunks: Uint8Array[] = [];
  let stats = 0;
  for await (const { event } of nap.containers.readContainerArchive({ engine, container, path })) {
    if (event.case === "stat") {
      expect(chunks, "the stat comes first").to.deep.equal([]);
      stats++;
    } else if (event.case === "data") {
      expect(event.value.length).to.be.at.most(1024 * 1024);
      chunks.push(event.value);
    }
  }
  expect(stats).to.equal(1);
  return entriesOf(Buffer.concat(chunks));
}

async function entriesOf(archive: Buffer): Promise<Entry[]> {
  const entries: Entry[] = [];
  const tar = extract();
  tar.end(archive);
  for await (const entry of tar) {
    const { name, type, mode, uid, gid, linkname } = entry.header;
    const content = await buffer(entry);
    entries.push({
      name,
      type: type as "file",
      // dockerd writes the file's kind here as well.
      mode: (mode ?? 0) % 0o10000,
      uid: uid ?? 0,
      gid: gid ?? 0,
      ...(linkname && { linkname }),
      ...(content.length > 0 && { content }),
    });
  }
  return entries;
}

/** Makes sure that a directory of a container has what the image put there, and nothing else. */
async function unchanged(bench: Bench, container: string): Promise<void> {
  const names = (await read(bench, container, "/data")).map(({ name }) => name);
  expect(names).to.deep.equal(["data/", "data/seed"]);
}

export function archiveCases(test: ConformanceTest): void {
  test(
    "archive.round-trips-a-directory",
    "writes a directory and reads it back with its modes, owners, links and long names",
    async (bench) => {
      const { id } = await bench.create({});
      const long = `${"directory-with-a-long-name/".repeat(6)}${"f".repeat(120)}`;
      const owner = { uid: 1234, gid: 55 };
      const text = Buffer.from("text\n");
      const sent: Entry[] = [
        { name: "d/", type: "directory", mode: 0o1750, ...owner },
        { name: "d/empty", type: "file", mode: 0o600, uid: 0, gid: 0 },
        { name: "d/plain", type: "file", mode: 0o640, ...owner, content: text },
        { name: "d/hard", type: "link", mode: 0o640, ...owner, linkname: "d/plain" },
        { name: "d/setuid", type: "file", mode: 0o4755, uid: 0, gid: 0, content: text },
        { name: "d/soft", type: "symlink", mode: 0o777, ...owner, linkname: "plain" },
        { name: `d/${long}`, type: "file", mode: 0o644, uid: 200_000, gid: 1, content: text },
      ];
      await write(bench, id, { path: "/data" }, await archiveOf(sent));
      const got = new Map((await read(bench, id, "/data/d")).map((entry) => [entry.name, entry]));
      for (const entry of sent) {
        // Of two names of one file, the archive may take either for the link.
        if (entry.name === "d/plain" || entry.name === "d/hard") continue;
        expect(got.get(entry.name), entry.name).to.deep.equal(entry);
      }
      const { nap, engine } = bench;
      await nap.containers.startContainer({ engine, container: id });
      const seen = await bench.exec(
        id,
        `cd /data/d && stat -c '%a %u %g %h %n' plain hard setuid && cat hard soft && stat -c %i plain hard | uniq | wc -l`,
      );
      expect(seen.split("\n")).to.deep.equal([
        "640 1234 55 2 plain",
        "640 1234 55 2 hard",
        "4755 0 0 1 setuid",
        "text",
        "text",
        "1",
      ]);
    },
  );

  test("archive.moves-64-mib-in-and-out", "moves 64 MiB in and out unchanged", async (bench) => {
    const { nap, engine } = bench;
    const { id: container } = await bench.start({});
    const content = randomBytes(64 * 1024 * 1024);
    const digest = createHash("sha256").update(content).digest("hex");
    const archive = await archiveOf([{ name: "large", content }]);
    await write(bench, container, { path: "/data" }, archive);
    expect(await bench.exec(container, "sha256sum < /data/large")).to.include(digest);
    const hash = createHash("sha256");
    let [bytes, reports] = [0, 0];
    const path = "/data/large";
    for await (const { event } of nap.containers.readContainerArchive({
      engine,
      container,
      path,
    })) {
      if (event.case === "progress") {
        expect(event.value.items.map(({ currentBytes }) => currentBytes)).to.deep.equal([
          BigInt(bytes),
        ]);
        reports++;
      }
      if (event.case !== "data") continue;
      const { value } = event;
      // Behind the header of 512 bytes; what follows the file is padding.
      const from = Math.max(0, 512 - bytes);
      hash.update(value.subarray(from, Math.max(from, 512 + content.length - bytes)));
      bytes += value.length;
    }
    expect(hash.digest("hex")).to.equal(digest);
    expect(reports).to.be.within(12, 16);
  });

  test("archive.takes-gzip", "takes an archive that is compressed with gzip", async (bench) => {
    const { id } = await bench.start({});
    const archive = await archiveOf([{ name: "zipped", content: Buffer.from("inside") }]);
    await write(bench, id, { path: "/data" }, gzipSync(archive));
    expect(await bench.exec(id, "cat /data/zipped")).to.equal("inside");
  });

  test(
    "archive.describes-every-kind-of-file",
    "describes a file, a directory, a link, a pipe, a device, and what is not there",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({});
      await bench.exec(
        container,
        "cd /data && printf 12345 > file && chmod 4751 file && touch -d @1500000000 file && " +
          "ln -s ../etc/passwd link && mkfifo pipe && mknod null c 1 3",
      );
      const stat = async (path: string) =>
        (await nap.containers.statContainerPath({ engine, container, path })).stat;
      const file = await stat("/data/file");
      expect(file).to.deep.include({
        name: "file",
        kind: FileKind.REGULAR,
        permissions: 0o4751,
        sizeBytes: 5n,
        linkTarget: "",
      });
      expect(file?.modifyTime?.seconds).to.equal(1_500_000_000n);
      expect(await stat("/tmp")).to.include({ kind: FileKind.DIRECTORY, permissions: 0o1777 });
      expect(await stat("/data/link")).to.include({
        kind: FileKind.SYMLINK,
        linkTarget: "/etc/passwd",
      });
      expect((await stat("/data/pipe"))?.kind).to.equal(FileKind.PIPE);
      expect((await stat("/data/null"))?.kind).to.equal(FileKind.DEVICE);
      for (const path of ["/data/none", "/data/file/below"]) {
        const error = await failure(stat(path));
        expect(error, path).to.include({ code: Code.NOT_FOUND, reason: "PATH_NOT_FOUND" });
      }
    },
  );

  test(
    "archive.tells-a-missing-path-from-a-missing-container",
    "tells a path that is not there from a container that is not",
    async (bench) => {
      const { nap, engine } = bench;
      const { id } = await bench.create({});
      const archive = await archiveOf([{ name: "a", content: Buffer.from("a") }]);
      for (const [container, reason] of [
        [id, "PATH_NOT_FOUND"],
        [bench.name("none"), "CONTAINER_NOT_FOUND"],
      ] as const) {
        const request = { engine, container, path: "/none" };
        for (const call of [
          () => nap.containers.statContainerPath(request),
          () => nap.containers.readContainerArchive(request).next(),
          () => write(bench, container, { path: "/none" }, archive),
        ]) {
          expect(await failure(call())).to.include({ code: Code.NOT_FOUND, reason });
        }
      }
    },
  );

  test(
    "archive.changes-nothing-on-a-wrong-size-or-digest",
    "changes nothing where the size, the digest or the close is wrong",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.create({});
      const archive = await archiveOf([{ name: "new", content: Buffer.from("a") }]);
      const open = { path: "/data" };
      const wrong = (close: Parameters<typeof uploadMessages>[3]) =>
        failure(write(bench, container, open, archive, close));
      for (const [error, field] of [
        [await wrong({ sizeBytes: BigInt(archive.length - 1) }), "close.size_bytes"],
        [await wrong({ sha256: new Uint8Array(32) }), "close.sha256"],
        [await wrong({ sha256: new Uint8Array(5) }), "close.sha256"],
      ] as const) {
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
        expect(error.fields).to.deep.equal([field]);
      }
      const all = [...uploadMessages({ engine, container }, open, archive)];
      for (const [messages, field] of [
        [all.slice(0, -1), "close"],
        [[...all, ...all.slice(1, 2)], "close"],
        [[...all.slice(0, 2), ...all], "open"],
        [all.slice(1), "open"],
      ] as const) {
        const error = await failure(resultOf(nap.containers.writeContainerArchive(messages)));
        expect(error).to.include({ reason: "FIELD_INVALID" });
        expect(error.fields).to.deep.equal([field]);
      }
      await unchanged(bench, container);
      await write(bench, container, open, archive, { sha256: new Uint8Array() });
      const names = (await read(bench, container, "/data")).map(({ name }) => name);
      expect(names).to.include("data/new");
    },
  );

  test(
    "archive.counts-the-bytes-of-an-upload-while-they-come",
    "counts the bytes of an upload while they come, and answers with the result last",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.create({});
      const archive = await archiveOf([{ name: "new", content: randomBytes(1_000_000) }]);
      const [open, first, ...others] = uploadMessages(
        { engine, container },
        { path: "/data" },
        archive,
      );
      let onCount = (): void => undefined;
      const counted = new Promise<void>((resolve) => (onCount = resolve));
      const requests = async function* () {
        yield* [open!, first!];
        await counted;
        yield* others;
      };
      const counts: bigint[] = [];
      let last: string | undefined;
      for await (const { event } of nap.containers.writeContainerArchive(requests())) {
        last = event.case;
        if (event.case !== "progress") continue;
        for (const { currentBytes = 0n } of event.value.items) counts.push(currentBytes);
        onCount();
      }
      expect(counts[0]).to.equal(BigInt(chunkBytes));
      expect(counts.at(-1)).to.equal(BigInt(archive.length));
      expect(last).to.equal("result");
    },
  );

  test(
    "archive.changes-nothing-on-a-cancelled-upload",
    "changes nothing where the upload is cancelled",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.create({});
      const archive = await archiveOf([{ name: "new", content: randomBytes(2_000_000) }]);
      const abort = new AbortController();
      const messages = [...uploadMessages({ engine, container }, { path: "/data" }, archive)];
      async function* cut() {
        yield* messages.slice(0, -1);
        abort.abort();
        yield* messages.slice(-1);
      }
      const { signal } = abort;
      // An engine without the method says so to an upload that is whole.
      await resultOf(
        nap.containers.writeContainerArchive(
          uploadMessages({ engine, container }, { path: "/tmp" }, archive),
        ),
      );
      const error = await failureOf(
        resultOf(nap.containers.writeContainerArchive(cut(), { signal })),
      );
      expect(error.code).to.equal(Code.CANCELLED);
      await unchanged(bench, container);
    },
  );

  test(
    "archive.refuses-broken-and-escaping-ones",
    "refuses what is no whole archive, what it cannot check, and what leads out",
    async (bench) => {
      const { id } = await bench.create({});
      const archive = await archiveOf([
        { name: "new", content: Buffer.from("a") },
        { name: "more", content: randomBytes(10_000) },
      ]);
      const leadsOut = [
        { name: "new", content: Buffer.from("a") },
        { name: "../../new", content: Buffer.from("a") },
      ];
      for (const [what, bytes] of [
        ["garbage", randomBytes(3000)],
        ["nothing", Buffer.alloc(0)],
        ["half", archive.subarray(0, archive.length / 2)],
        ["half of gzip", gzipSync(archive).subarray(0, 300)],
        ["garbage in gzip", gzipSync(randomBytes(3000))],
        ["bzip2", Buffer.concat([Buffer.from("BZh91AY&SY"), randomBytes(1000)])],
        ["a way out", await archiveOf(leadsOut)],
      ] as const) {
        const error = await failure(write(bench, id, { path: "/data" }, bytes));
        expect(error, what).to.include({ code: Code.INVALID_ARGUMENT, reason: "ARCHIVE_INVALID" });
      }
      await unchanged(bench, id);
    },
  );

  test(
    "archive.replaces-files-by-directories-only-if-asked",
    "replaces a file by a directory, and a directory by a file, only when told to",
    async (bench) => {
      const { id } = await bench.start({});
      await bench.exec(id, "mkdir /data/dir && echo old > /data/file");
      const swapped = await archiveOf([
        { name: "file", type: "directory", mode: 0o755 },
        { name: "dir", content: Buffer.from("new") },
      ]);
      const error = await failure(write(bench, id, { path: "/data" }, swapped));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "FILE_TYPE_CONFLICT" });
      expect(await bench.exec(id, "cat /data/file")).to.equal("old");
      await write(bench, id, { path: "/data", allowTypeChange: true }, swapped);
      expect(await bench.exec(id, "test -d /data/file && cat /data/dir")).to.equal("new");
    },
  );

  test(
    "archive.refuses-targets-that-cannot-be-written",
    "refuses to unpack into a file, and into what cannot be written",
    async (bench) => {
      const { id } = await bench.create({});
      const archive = await archiveOf([{ name: "new", content: Buffer.from("a") }]);
      const file = await failure(write(bench, id, { path: "/data/seed" }, archive));
      expect(file).to.include({ code: Code.FAILED_PRECONDITION, reason: "PATH_NOT_DIRECTORY" });
      const { id: readOnly } = await bench.start({ readOnlyRootFilesystem: true });
      const root = await failure(write(bench, readOnly, { path: "/data" }, archive));
      expect(root).to.include({ code: Code.FAILED_PRECONDITION, reason: "PATH_READ_ONLY" });
    },
  );

  test(
    "archive.exports-the-whole-root",
    "exports all that a container's root has, its changes included",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({});
      await bench.exec(container, "echo changed > /data/seed; echo new > /data/new");
      const chunks: Uint8Array[] = [];
      for await (const { event } of nap.containers.exportContainer({ engine, container })) {
        if (event.case !== "data") continue;
        expect(event.value.length).to.be.within(1, 1024 * 1024);
        chunks.push(event.value);
      }
      const entries = new Map(
        (await entriesOf(Buffer.concat(chunks))).map((entry) => [entry.name, entry]),
      );
      expect(entries.get("data/seed")?.content?.toString()).to.equal("changed\n");
      expect(entries.get("data/new")?.content?.toString()).to.equal("new\n");
      const names = [...entries.keys()].map((name) => name.replace(/\/$/, ""));
      const inside = await bench.exec(
        container,
        "find / -xdev -mindepth 1 -maxdepth 2 | sed s:^/::",
      );
      for (const name of inside.split("\n")) expect(names).to.include(name);
    },
  );
}

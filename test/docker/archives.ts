/** What is true of archives on Docker alone, or shown on it for all engines. */
import { mkdirSync, mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import {
  ContainerService,
  WriteContainerArchiveRequestSchema,
} from "../../gen/nap/v1/container_service_pb.js";
import { archiveOf, uploadMessages } from "../conformance/cases/archives.js";
import { eventually } from "../conformance/bench.js";
import { failure, resultOf } from "../support/client.js";
import { mountMemory } from "../support/engines/dockerd.js";
import { startNap } from "../support/engines/nap.js";
import { sendMessage, wireCall } from "../support/wire.js";
import type { DockerBench } from "./cases.js";
import { connectionsTo } from "../support/connections.js";
import { memoryOf } from "../server/streams.js";

const engine = "docker";

/** Declares the cases. `open` gives their bench when the tests run. */
export function dockerArchiveCases(open: () => DockerBench): void {
  it("leaves nothing of an upload whose connection breaks, in the container or in the spool", async () => {
    const { nap, dockerd, bench } = open();
    const spool = join(dockerd.directory, "spool");
    const kept = (): string[] => nap.openFiles().filter((path) => path.startsWith(spool));
    const { id: container } = await bench.create({});
    const archive = await archiveOf([{ name: "new", content: randomBytes(1_000_000) }]);
    const method = ContainerService.method.writeContainerArchive;
    const call = wireCall(nap.address, method, 65_535);
    const messages = [...uploadMessages({ engine, container }, { path: "/data" }, archive)];
    for (const message of messages.slice(0, -1)) {
      sendMessage(call, method, create(WriteContainerArchiveRequestSchema, message));
    }
    await eventually(() => (kept().length > 0 ? true : undefined));
    expect(readdirSync(spool), "names in the spool").to.deep.equal([]);
    call.session.destroy();
    await eventually(() => (kept().length === 0 ? true : undefined));
    const path = "/data/new";
    const error = await failure(nap.containers.statContainerPath({ engine, container, path }));
    expect(error).to.include({ code: Code.NOT_FOUND, reason: "PATH_NOT_FOUND" });
    await resultOf(nap.containers.writeContainerArchive(messages));
    await nap.containers.statContainerPath({ engine, container, path });
    expect(kept()).to.deep.equal([]);
  });

  it("refuses an upload that is larger than the server takes", async () => {
    const { dockerd, bench } = open();
    const { id: container } = await bench.create({});
    const directory = join(dockerd.directory, "spool");
    const config = {
      engines: { docker: { driver: "docker", url: `unix://${dockerd.socket}` } },
      spool_directory: directory,
      max_upload_bytes: 4096,
    };
    const nap = await startNap(mkdtempSync(join(dockerd.directory, "small-")), config);
    try {
      const archive = await archiveOf([{ name: "new", content: randomBytes(10_000) }]);
      const messages = uploadMessages({ engine, container }, { path: "/data" }, archive);
      const error = await failure(resultOf(nap.containers.writeContainerArchive(messages)));
      expect(error).to.include({ code: Code.RESOURCE_EXHAUSTED, reason: "UPLOAD_TOO_LARGE" });
    } finally {
      await nap.stop();
    }
  });

  it("tells a full disk of its own from an upload that is too large, and takes it once there is space", async () => {
    const { dockerd, bench } = open();
    const { id: container } = await bench.create({});
    const directory = mkdtempSync(join(dockerd.directory, "full-"));
    const spool = join(directory, "spool");
    mkdirSync(spool);
    mountMemory(dockerd.initPid, spool, "64k");
    const engines = { docker: { driver: "docker", url: `unix://${dockerd.socket}` } };
    const config = { engines, spool_directory: spool };
    const nap = await startNap(directory, config, dockerd.initPid);
    try {
      const write = async (size: number): Promise<unknown> => {
        const archive = await archiveOf([{ name: "new", content: randomBytes(size) }]);
        const messages = uploadMessages({ engine, container }, { path: "/data" }, archive);
        return resultOf(nap.containers.writeContainerArchive(messages));
      };
      const error = await failure(write(100_000));
      expect(error).to.include({ code: Code.RESOURCE_EXHAUSTED, reason: "SPOOL_FULL" });
      expect(error.retryAfterMillis).to.be.greaterThan(0);
      await write(10_000);
    } finally {
      await nap.stop();
    }
    await bench.tidy();
  });

  it("tells that the engine's disk is full", async () => {
    const { nap, bench } = open();
    const driverOptions = { type: "tmpfs", device: "tmpfs", o: "size=64k" };
    const volume = await bench.volume({ driver: "local", driverOptions });
    const source = { case: "volume" as const, value: { volume } };
    const { id: container } = await bench.start({ mounts: [{ target: "/small", source }] });
    const archive = await archiveOf([{ name: "new", content: randomBytes(100_000) }]);
    const messages = uploadMessages({ engine, container }, { path: "/small" }, archive);
    const error = await failure(resultOf(nap.containers.writeContainerArchive(messages)));
    expect(error).to.include({ code: Code.RESOURCE_EXHAUSTED, reason: "ENGINE_DISK_FULL" });
    expect(error.retryAfterMillis).to.equal(undefined);
    await bench.tidy();
  });

  it("refuses paths in memory, where dockerd would find and write something else", async () => {
    const { nap, bench } = open();
    const memory = { target: "/mem", source: { case: "tmpfs" as const, value: {} } };
    const { id: container } = await bench.start({ mounts: [memory] });
    const archive = await archiveOf([{ name: "new", content: randomBytes(10) }]);
    for (const path of ["/mem", "/mem/a", "/data/../mem", "/proc/self", "/dev/shm"]) {
      const request = { engine, container, path };
      const messages = uploadMessages({ engine, container }, { path }, archive);
      for (const call of [
        () => nap.containers.statContainerPath(request),
        () => nap.containers.readContainerArchive(request).next(),
        () => resultOf(nap.containers.writeContainerArchive(messages)),
      ]) {
        const error = await failure(call());
        expect(error, path).to.include({
          code: Code.FAILED_PRECONDITION,
          reason: "PATH_NOT_ACCESSIBLE",
        });
      }
    }
    const volume = { target: "/mem/disk", source: { case: "volume" as const, value: {} } };
    const { id: other } = await bench.start({ mounts: [memory, volume] });
    await resultOf(
      nap.containers.writeContainerArchive(
        uploadMessages({ engine, container: other }, { path: "/mem/disk" }, archive),
      ),
    );
    expect(await bench.exec(other, "ls /mem/disk")).to.equal("new");
  });

  it("holds dockerd back when nobody reads an archive, and closes its connection when that is cancelled", async () => {
    const { nap, dockerd, bench } = open();
    const { id: container } = await bench.start({});
    await bench.exec(container, "dd if=/dev/zero of=/data/large bs=1M count=64 2>/dev/null");
    const request = { engine, container, path: "/data/large" };
    const stream = nap.containers.readContainerArchive(request);
    for (let n = 0; n < 3; n++) await stream.next();
    const memory = memoryOf(nap.pid);
    // dockerd answers nothing else about a container while its archive is being read.
    const { id: other } = await bench.start({});
    const exporting = nap.containers.exportContainer({ engine, container: other });
    await exporting.next();
    const during = connectionsTo(dockerd, nap);
    // What would come unread comes within this time.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(memoryOf(nap.pid) - memory).to.be.below(32 * 1024 * 1024);
    await stream.return(undefined);
    await exporting.return(undefined);
    // The server's own look at dockerd may have one more by now.
    await eventually(() => (connectionsTo(dockerd, nap) <= during - 1 ? true : undefined));
  });
}

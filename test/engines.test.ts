/** The conformance suite on every engine, and what is true of each alone. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { Bench } from "./conformance/bench.js";
import { dockerFloor, runcFloor } from "./conformance/floors.js";
import { importMessages } from "./conformance/images.js";
import { conformance, printTable } from "./conformance/suite.js";
import { dockerArchiveCases } from "./docker/archives.js";
import { dockerCases } from "./docker/cases.js";
import { dockerEventCases } from "./docker/events.js";
import { logCases } from "./docker/logs.js";
import { dockerStatsCases } from "./docker/stats.js";
import { interactiveDockerCases } from "./docker/interactive.js";
import { runcCases } from "./runc/cases.js";
import type { TestDockerd } from "./support/dockerd.js";
import { startDockerd } from "./support/dockerd.js";
import { resultOf } from "./support/client.js";
import type { TestNap } from "./support/nap.js";
import { startNap } from "./support/nap.js";
import { rootfsArchive } from "./support/rootfs.js";

const image = "nap-test:1";

describe("engines", () => {
  let dockerd: TestDockerd;
  let nap: TestNap;
  let rootfs: Buffer;

  before(async function () {
    this.timeout(60_000);
    dockerd = await startDockerd();
    // Both engines run in dockerd's namespaces, which end with everything in them.
    const runcRoot = join(dockerd.directory, "runc");
    mkdirSync(runcRoot);
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    const runc = { driver: "runc", root: runcRoot, cgroup_parent: dockerd.cgroup };
    const engines = { docker, runc };
    const spool = join(dockerd.directory, "spool");
    mkdirSync(spool);
    const config = { engines, default_engine: "docker", spool_directory: spool };
    nap = await startNap(dockerd.directory, config, dockerd.initPid);
    rootfs = await rootfsArchive();
    for (const engine of Object.keys(engines)) {
      await resultOf(nap.images.importImage(importMessages(engine, { reference: image }, rootfs)));
    }
  });

  after(async function () {
    this.timeout(60_000);
    printTable();
    const code = await nap?.stop();
    await dockerd?.stop();
    expect(code, "nap's exit code").to.equal(0);
  });

  const open = (engine: string) => (): Bench =>
    new Bench(nap, engine, image, rootfs, dockerd.directory, dockerd);
  conformance("docker", open("docker"), dockerFloor);
  conformance("runc", open("runc"), runcFloor);
  describe("docker alone", () => {
    const dockerBench = () => ({ dockerd, nap, bench: open("docker")() });
    dockerCases(dockerBench);
    describe("interactive", () => interactiveDockerCases(dockerBench));
  });
  describe("docker's events", () => dockerEventCases(() => ({ dockerd, bench: open("docker")() })));
  describe("docker's logs", () => logCases(() => ({ dockerd, nap, bench: open("docker")() })));
  describe("docker's stats", () =>
    dockerStatsCases(() => ({ dockerd, nap, bench: open("docker")() })));
  describe("docker's archives", () =>
    dockerArchiveCases(() => ({ dockerd, nap, bench: open("docker")() })));
  describe("runc alone", () => runcCases(() => ({ dockerd, nap, bench: open("runc")() })));
});

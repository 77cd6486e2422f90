/** Docker: the conformance suite, and what is true of Docker alone. */
import { expect } from "chai";
import { allCases, conformance } from "../conformance/suite.js";
import { Bench } from "../conformance/bench.js";
import { importMessages } from "../conformance/images.js";
import type { TestDockerd } from "../support/dockerd.js";
import { startDockerd } from "../support/dockerd.js";
import type { TestNap } from "../support/nap.js";
import { startNap } from "../support/nap.js";
import { rootfsArchive } from "../support/rootfs.js";
import { dockerCases } from "./cases.js";

describe("docker", () => {
  let dockerd: TestDockerd;
  let nap: TestNap;
  let rootfs: Buffer;
  const image = "nap-test:1";

  before(async function () {
    this.timeout(60_000);
    dockerd = await startDockerd();
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    nap = await startNap(dockerd.directory, { engines: { docker } });
    rootfs = await rootfsArchive();
    await nap.images.importImage(importMessages("docker", { reference: image }, rootfs));
  });

  after(async function () {
    this.timeout(60_000);
    const code = await nap?.stop();
    await dockerd?.stop();
    expect(code, "nap's exit code").to.equal(0);
  });

  const open = (): Bench => new Bench(nap, "docker", image, rootfs, dockerd.directory);
  // Docker is the base: it must do everything.
  conformance("docker", open, new Set(allCases));
  dockerCases(() => ({ dockerd, nap, bench: open() }));
});

/** What is true of runC alone. */
import { mkdirSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { ContainerState } from "../../gen/nap/v1/container_service_pb.js";
import type { Bench } from "../conformance/bench.js";
import { Bench as NewBench } from "../conformance/bench.js";
import { importMessages } from "../conformance/images.js";
import { all } from "../support/client.js";
import type { TestDockerd } from "../support/dockerd.js";
import type { TestNap } from "../support/nap.js";
import { startNap } from "../support/nap.js";

/** What these cases work with. */
export interface RuncBench {
  readonly dockerd: TestDockerd;
  readonly nap: TestNap;
  readonly bench: Bench;
}

/** Declares the cases. `open` gives their bench when the tests run. */
export function runcCases(open: () => RuncBench): void {
  it("finds its containers, their output and their exits again after nap was killed", async () => {
    const { dockerd, bench: first } = open();
    const directory = mkdtempSync(join(dockerd.directory, "again-"));
    const root = join(directory, "root");
    mkdirSync(root);
    const config = { engines: { runc: { driver: "runc", root, cgroup_parent: dockerd.cgroup } } };
    const before = await startNap(directory, config, dockerd.initPid);
    const image = "again:1";
    await before.images.importImage(importMessages("runc", { reference: image }, first.rootfs));
    const made = new NewBench(before, "runc", image, first.rootfs, directory);
    const script = (end: string): string[] => [
      "sh",
      "-c",
      `echo first; sleep 1; echo second; ${end}`,
    ];
    const short = await made.start({}, script("exit 9"));
    const long = await made.start({}, script("sleep 60"));
    const gone = await made.start({ autoRemove: true }, script("exit 1"));
    process.kill(before.pid, "SIGKILL");
    await before.stop();
    await new Promise((resolve) => setTimeout(resolve, 1500));

    const after = await startNap(directory, config, dockerd.initPid);
    const bench = new NewBench(after, "runc", image, first.rootfs, directory);
    try {
      const ended = await bench.get(short.name);
      expect(ended.state).to.equal(ContainerState.EXITED);
      expect(ended.exit?.code).to.equal(9);
      const running = await bench.get(long.id);
      expect(running.state).to.equal(ContainerState.RUNNING);
      expect(running.pid).to.equal(long.pid);
      expect(await bench.exec(long.id, "echo alive")).to.equal("alive");
      for (const { id } of [short, long]) {
        const logs = await all(after.containers.streamContainerLogs({ container: id }));
        const text = logs.flatMap(({ event }) =>
          event.case === "batch" ? event.value.entries.map(({ data }) => Buffer.from(data)) : [],
        );
        expect(Buffer.concat(text).toString()).to.equal("first\nsecond\n");
      }
      const { containers } = await after.containers.listContainers({});
      expect(containers.map(({ id }) => id)).not.to.include(gone.id);
      for (const { id } of [short, long]) {
        await after.containers.removeContainer({ container: id, force: true });
      }
    } finally {
      await after.stop();
    }
  });
}

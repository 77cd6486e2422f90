/** Whose a container is, on runC: the core's own rule, which no engine has a part in. */
import { mkdirSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { Bench } from "../conformance/bench.js";
import { importMessages } from "../conformance/cases/images.js";
import { failure, openChannel, resultOf } from "../support/client.js";
import { clientsOf, startNap } from "../support/engines/nap.js";
import type { RuncBench } from "./cases.js";

/** Declares the case. `open` gives its bench when the tests run. */
export function runcOwnershipCase(open: () => RuncBench): void {
  it("shows an identity what it made alone", async () => {
    const { dockerd, bench } = open();
    const { image, rootfs, hostDirectory } = bench;
    const directory = mkdtempSync(join(dockerd.directory, "runc-ownership-"));
    const root = join(directory, "root");
    mkdirSync(root);
    const runc = { driver: "runc", root, cgroup_parent: `${dockerd.cgroup}/ownership` };
    const identity = { role: "operate", image_changes: true, own_resources_only: true };
    const names = ["alice", "bob"];
    const config = {
      engines: { runc },
      spool_directory: directory,
      identities: { alice: identity, bob: identity },
      listen: names.map((name) => ({
        address: `unix://${directory}/${name}.sock`,
        identity: name,
      })),
    };
    const nap = await startNap(directory, config, dockerd.initPid);
    const channels = nap.addresses.map((address) => openChannel(address));
    const [alice, bob] = channels.map(
      (channel) => new Bench(clientsOf(channel), "runc", image, rootfs, hostDirectory),
    ) as [Bench, Bench];
    try {
      await resultOf(
        alice.nap.images.importImage(importMessages("runc", { reference: image }, rootfs)),
      );
      const his = await bob.create({});
      expect(his.owner).to.equal("bob");
      const engine = "runc";
      for (const container of [his.id, his.name, his.id.slice(0, 12)]) {
        const error = await failure(alice.nap.containers.startContainer({ engine, container }));
        expect(error).to.include({ code: Code.NOT_FOUND, reason: "CONTAINER_NOT_FOUND" });
        expect(error.message).to.include(`${container}: there is no such container`);
      }
      const hers = await alice.create({});
      const listed = await alice.nap.containers.listContainers({ engine });
      expect(listed.containers.map(({ id }) => id)).to.deep.equal([hers.id]);
      const prefix = hers.id.slice(0, 12);
      expect((await alice.get(prefix)).name).to.equal(hers.name);
    } finally {
      for (const bench of [alice, bob]) await bench.tidy();
      for (const channel of channels) channel.close();
      await nap.stop();
    }
  }).timeout(60_000);
}

/** What is true of volumes on Docker alone. */
import { expect } from "chai";
import { failure } from "../support/client.js";
import type { DockerBench } from "./cases.js";

const engine = "docker";

/** Declares the cases. `open` gives their bench when the tests run. */
export function volumeCases(open: () => DockerBench): void {
  it("prunes volumes without a name of their own alone, or refuses where Docker takes all", async () => {
    const { nap, bench } = open();
    const labels = { mark: bench.name("mark") };
    const named = await bench.volume({ labels });
    const made = await nap.volumes.createVolume({ engine, spec: { labels } });
    const unnamed = made.volume?.name ?? "";
    bench.cleanUp(() => nap.volumes.removeVolume({ engine, volume: unnamed }));
    const filter = { labels: [{ key: "mark", value: labels.mark }] };
    const names = async (): Promise<string[]> => {
      const { volumes } = await nap.volumes.listVolumes({ engine, filter });
      return volumes.map(({ name }) => name);
    };
    const { engines } = await nap.engines.listEngines({});
    const apiVersion = engines.find(({ name }) => name === engine)?.apiVersion ?? "";
    const prune = nap.volumes.pruneVolumes({ engine, filter });
    if (apiVersion === "1.41") {
      const error = await failure(prune);
      expect(error).to.include({ reason: "FIELD_UNSUPPORTED" });
      expect(error.fields).to.deep.equal(["include_named"]);
      expect(await names()).to.have.members([named, unnamed]);
    } else {
      expect((await prune).volumeNames).to.deep.equal([unnamed]);
      expect(await names()).to.deep.equal([named]);
    }
    await bench.tidy();
  });
}

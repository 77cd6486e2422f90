/** What Docker does not prune by is refused, and nothing is removed. */
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { ContainerState } from "../../gen/nap/v1/container_service_pb.js";
import { ResourceScope } from "../../gen/nap/v1/types_pb.js";
import { failure } from "../support/client.js";
import type { DockerBench } from "./cases.js";

const engine = "docker";

/** Declares the cases. `open` gives their bench when the tests run. */
export function pruneCases(open: () => DockerBench): void {
  it("refuses by their paths the fields of a filter that Docker does not prune by", async () => {
    const { containers, images, networks, volumes } = open().nap;
    const createdBefore = { seconds: 1000n };
    const names = ["none"];
    const refused: [call: Promise<unknown>, paths: string[]][] = [
      [
        containers.pruneContainers({
          engine,
          filter: { ids: names, names, states: [ContainerState.EXITED], exitCodes: [0] },
        }),
        ["ids", "names", "states", "exit_codes"],
      ],
      [
        images.pruneImages({ engine, filter: { references: names, untagged: false } }),
        ["references", "untagged"],
      ],
      [
        networks.pruneNetworks({
          engine,
          filter: { ids: names, names, scopes: [ResourceScope.LOCAL], unused: true },
        }),
        ["ids", "names", "scopes", "unused"],
      ],
      [
        volumes.pruneVolumes({ engine, includeNamed: true, filter: { names, createdBefore } }),
        ["names", "created_before"],
      ],
    ];
    for (const [call, paths] of refused) {
      const error = await failure(call);
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_UNSUPPORTED" });
      expect(error.fields).to.deep.equal(paths.map((path) => `filter.${path}`));
    }
  });

  it("refuses to prune with two excluded labels, of which Docker would spare only what has both", async () => {
    const { nap, bench } = open();
    const mark = bench.name("mark");
    const { id } = await bench.create({ labels: { mark, keep: "" } });
    const filter = {
      labels: [{ key: "mark", value: mark }],
      excludedLabels: [{ key: "keep" }, { key: "other" }],
    };
    for (const call of [
      nap.containers.pruneContainers({ engine, filter }),
      nap.images.pruneImages({ engine, filter }),
      nap.networks.pruneNetworks({ engine, filter }),
      nap.volumes.pruneVolumes({ engine, filter, includeNamed: true }),
    ]) {
      const error = await failure(call);
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_UNSUPPORTED" });
      expect(error.fields).to.deep.equal(["filter.excluded_labels[1]"]);
    }
    expect((await bench.get(id)).id).to.equal(id);
    await bench.tidy();
  });
}

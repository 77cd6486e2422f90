/** The fields that an update may clear. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { UpdateContainerRequestSchema } from "../../../gen/nap/v1/container_service_pb.js";
import { wrongClears } from "./clear.js";

describe("clear of an update", () => {
  const wrong = (init: MessageInitShape<typeof UpdateContainerRequestSchema>) =>
    [...wrongClears(create(UpdateContainerRequestSchema, init))].map(([field, words]) => [
      field,
      /(?:mean|sets) ([\w.]+)/.exec(words)?.[1],
    ]);

  it("takes the restart policy, fields of resources, and oneofs by their names", () => {
    const clear = [
      "restart_policy",
      "resources.memory_limit_bytes",
      "resources.swap_limit",
      "resources.pids_limit",
      "resources.cpuset_cpus",
      "resources.block_io.weight",
      "resources.block_io.read_bytes_per_second",
    ];
    const resources = { cpuShares: 2n, blockIo: { deviceWeights: [{}] } };
    expect(wrong({ clear, resources })).to.deep.equal([]);
  });

  it("refuses other paths, and names the one that may be meant", () => {
    for (const [path, near] of [
      ["resources.memory_limit", "resources.memory_limit_bytes"],
      ["resources.pids_limit_count", "resources.pids_limit"],
      ["resource.cpu_shares", "resources.cpu_shares"],
      ["restartPolicy", "restart_policy"],
      ["resources", undefined],
      ["container", undefined],
      ["restart_policy.mode", "restart_policy"],
      ["x".repeat(255), undefined],
    ] as const) {
      expect(wrong({ clear: [path] }), path).to.deep.equal([["clear[0]", near]]);
    }
  });

  it("refuses what the request sets", () => {
    const clear = ["resources.swap_limit", "restart_policy", "resources.block_io.weight"];
    const found = wrong({
      clear,
      restartPolicy: {},
      resources: { swapLimit: { case: "swapUnlimited", value: {} }, blockIo: { weight: 10 } },
    });
    expect(found).to.deep.equal(clear.map((path, index) => [`clear[${index}]`, path]));
  });
});

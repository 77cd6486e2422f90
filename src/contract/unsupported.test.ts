/** An entry of the unsupported features applies to a field everywhere, or at one path only. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import {
  CreateContainerRequestSchema,
  UpdateContainerRequestSchema,
  WaitCondition,
  WaitContainerRequestSchema,
} from "../../gen/nap/v1/container_service_pb.js";
import { imageSource } from "../../test/support/requests/source.js";
import type { UnsupportedEntry } from "./unsupported.js";
import { supportEntries, supportOf, unsupportedFields } from "./unsupported.js";

const reason = "why";
const made = create(CreateContainerRequestSchema, {
  spec: { source: imageSource("i"), resources: { cpuShares: 2n, blockIo: { weight: 10 } } },
});
const changed = create(UpdateContainerRequestSchema, {
  resources: { cpuShares: 2n, blockIo: { weight: 10 } },
});

/** Returns the paths that a table rejects in the create and the update request. */
function refused(...entries: UnsupportedEntry[]): [string[], string[]] {
  const support = supportOf(entries);
  const paths = (desc: Parameters<typeof unsupportedFields>[1], request: typeof made) =>
    [...unsupportedFields(support, desc, request)].map(({ field }) => field);
  return [
    paths(CreateContainerRequestSchema, made),
    paths(UpdateContainerRequestSchema, changed as never),
  ];
}

describe("unsupported fields", () => {
  it("are refused wherever their message stands", () => {
    expect(refused({ field: "nap.v1.Resources.cpu_shares", reason })).to.deep.equal([
      ["spec.resources.cpu_shares"],
      ["resources.cpu_shares"],
    ]);
  });

  it("are refused in one place alone where the key begins at what holds them", () => {
    const field = "nap.v1.UpdateContainerRequest.resources.cpu_shares";
    expect(refused({ field, reason })).to.deep.equal([[], ["resources.cpu_shares"]]);
    const inner = "nap.v1.ContainerSpec.resources.block_io.weight";
    expect(refused({ field: inner, reason })).to.deep.equal([
      ["spec.resources.block_io.weight"],
      [],
    ]);
  });

  it("are reported in the order of the contract, and nothing below them", () => {
    const [paths] = refused(
      { field: "nap.v1.ContainerSpec.image", reason },
      { field: "nap.v1.Resources.block_io", reason },
      { field: "nap.v1.BlockIo.weight", reason },
      { field: "nap.v1.Resources.cpu_shares", reason },
    );
    expect(paths).to.deep.equal([
      "spec.image",
      "spec.resources.cpu_shares",
      "spec.resources.block_io",
    ]);
  });

  it("may be honoured but for one value", () => {
    const field = "nap.v1.WaitContainerRequest.condition";
    const support = supportOf([
      { field, value: "WAIT_CONDITION_HEALTHY", reason, alternative: "a" },
    ]);
    const violations = (condition: WaitCondition) =>
      [
        ...unsupportedFields(
          support,
          WaitContainerRequestSchema,
          create(WaitContainerRequestSchema, { condition }),
        ),
      ].map(({ field: path, description }) => [path, description]);
    expect(violations(WaitCondition.HEALTHY)).to.deep.equal([["condition", "why; a"]]);
    expect(violations(WaitCondition.REMOVED)).to.deep.equal([]);
  });

  it("are listed by field and value, the last reason of each", () => {
    const entries = [
      { field: "b", value: "V", reason: "1" },
      { field: "b", reason: "2" },
      { field: "a", reason: "3" },
      { field: "b", value: "V", reason: "4" },
    ];
    expect(supportEntries(supportOf(entries))).to.deep.equal([
      { field: "a", reason: "3" },
      { field: "b", reason: "2" },
      { field: "b", value: "V", reason: "4" },
    ]);
  });
});

/** What an engine reports is paired with what was asked for, at a bounded cost. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { NetworkConfigSchema } from "../../gen/nap/v1/container_spec_pb.js";
import type { Equivalences } from "./not-applied.js";
import { lostFields } from "./not-applied.js";

function counting(): { equivalences: Equivalences; comparisons: () => number } {
  let comparisons = 0;
  const isSame = (): boolean => {
    comparisons++;
    return false;
  };
  const sets = new Set(["nap.v1.NetworkConfig.exposed_ports"]);
  return {
    equivalences: { isSame, whole: new Set(), ordered: new Set(), sets },
    comparisons: () => comparisons,
  };
}

describe("what is not applied", () => {
  const ports = Array.from({ length: 4096 }, (_, index) => ({
    containerPort: index + 1,
    protocol: 1,
    hostPort: index + 1,
  }));
  const wanted = create(NetworkConfigSchema, { portMappings: ports });

  it("is nothing where thousands of entries come back in another order", () => {
    const { equivalences, comparisons } = counting();
    const got = create(NetworkConfigSchema, { portMappings: ports.toReversed() });
    expect(lostFields(NetworkConfigSchema, wanted, got, equivalences)).to.deep.equal([]);
    expect(comparisons()).to.equal(0);
  });

  it("is found among thousands of entries by comparing it with those of its identity alone", () => {
    const { equivalences, comparisons } = counting();
    const changed = ports.map((port) => ({ ...port, hostPort: 1 })).toReversed();
    const got = create(NetworkConfigSchema, { portMappings: changed });
    const lost = lostFields(NetworkConfigSchema, wanted, got, equivalences);
    expect(lost).to.have.lengthOf(ports.length - 1);
    expect(lost[0]).to.equal("port_mappings[1].host_port");
    expect(comparisons()).to.be.at.most(3 * ports.length);
  });

  it("is not an entry of a set that was asked for twice", () => {
    const { equivalences } = counting();
    const exposed = { containerPort: 80, protocol: 1 };
    const twice = create(NetworkConfigSchema, { exposedPorts: [exposed, exposed] });
    const once = create(NetworkConfigSchema, { exposedPorts: [exposed] });
    expect(lostFields(NetworkConfigSchema, twice, once, equivalences)).to.deep.equal([]);
  });
});

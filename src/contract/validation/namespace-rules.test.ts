/** Fields that do not apply to a kind of namespace are rejected with their path, on every engine. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { CreateContainerRequestSchema } from "../../../gen/nap/v1/container_service_pb.js";
import type { NamespacesSchema } from "../../../gen/nap/v1/container_spec_pb.js";
import { imageSource } from "../../../test/support/requests/source.js";
import { RuleTable } from "./rules.js";
import { contractViolations } from "./validate.js";

type Init = MessageInitShape<typeof NamespacesSchema>;

/** Returns the paths of the violations below the namespaces of a spec. */
function violations(namespaces: Init): string[] {
  const request = create(CreateContainerRequestSchema, {
    spec: { source: imageSource("i"), namespaces },
  });
  const found = [...contractViolations(new RuleTable(), CreateContainerRequestSchema, request)];
  for (const { reason } of found) expect(reason).to.equal("FIELD_INVALID");
  return found.map(({ field }) => field.replace(/^spec\.namespaces\./, ""));
}

const isolated = (value: object) => ({ mode: { case: "isolated" as const, value } });
const uids = [{ containerId: 0, hostId: 100_000, size: 65_536 }];

describe("namespaces of the contract", () => {
  it("are shareable or without /dev/shm in the IPC namespace alone, and not both", () => {
    expect(violations({ ipc: isolated({ shareable: true }) })).to.deep.equal([]);
    expect(violations({ ipc: isolated({ withoutShm: true, shareable: false }) })).to.deep.equal([]);
    expect(violations({ ipc: isolated({ withoutShm: true, shareable: true }) })).to.deep.equal([
      "ipc.isolated.without_shm",
    ]);
    for (const kind of ["pid", "uts", "user", "cgroup", "network", "mount"] as const) {
      expect(
        violations({ [kind]: isolated({ shareable: false, withoutShm: true }) }),
      ).to.deep.equal([`${kind}.isolated.shareable`, `${kind}.isolated.without_shm`]);
    }
  });

  it("map ids in the user namespace alone, at most 340 ranges, none empty", () => {
    expect(violations({ user: isolated({ uids, gids: uids }) })).to.deep.equal([]);
    for (const kind of ["pid", "ipc", "uts", "cgroup", "network", "mount"] as const) {
      expect(violations({ [kind]: isolated({ uids, gids: uids }) })).to.deep.equal([
        `${kind}.isolated.uids`,
        `${kind}.isolated.gids`,
      ]);
    }
    expect(violations({ user: isolated({ uids: Array(341).fill(uids[0]) }) })).to.deep.equal([
      "user.isolated.uids",
    ]);
    expect(violations({ user: isolated({ gids: [{ containerId: 1 }] }) })).to.deep.equal([
      "user.isolated.gids[0].size",
    ]);
  });

  it("are the container's own, or a pod's, where it is on networks", () => {
    const networks = [{ network: "n" }];
    for (const [mode, fields] of [
      [undefined, []],
      [{ case: "isolated", value: {} }, []],
      [{ case: "pod", value: "p" }, []],
      [{ case: "host", value: {} }, ["spec.networks"]],
      [{ case: "container", value: "c" }, ["spec.networks"]],
      [{ case: "path", value: "/run/netns/n" }, ["spec.networks"]],
    ] as const) {
      const namespaces = mode === undefined ? {} : { network: { mode } };
      for (const attached of [true, false]) {
        const spec = { source: imageSource("i"), namespaces, networks: attached ? networks : [] };
        const request = create(CreateContainerRequestSchema, { spec });
        const found = [
          ...contractViolations(new RuleTable(), CreateContainerRequestSchema, request),
        ];
        expect(
          found.map(({ field }) => field),
          mode?.case,
        ).to.deep.equal(attached ? fields : []);
      }
    }
  });

  it("come from one place, which is named whole", () => {
    const at = (mode: object) => violations({ pid: { mode } as never });
    expect(at({ case: undefined })).to.deep.equal(["pid.mode"]);
    expect(at({ case: "container", value: "" })).to.deep.equal(["pid.container"]);
    expect(at({ case: "pod", value: "" })).to.deep.equal(["pid.pod"]);
    expect(at({ case: "path", value: "proc/1/ns/pid" })).to.deep.equal(["pid.path"]);
    expect(at({ case: "path", value: "/proc/1/ns/pid" })).to.deep.equal([]);
  });
});

/** Paths below bind roots, including hostile ones. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import * as fc from "fast-check";
import { MountSchema } from "../../../gen/nap/v1/container_spec_pb.js";
import { hostPathOf } from "./bind-roots.js";
import { restoreBindRoots } from "./rooted-mounts.js";

describe("bind roots of the core", () => {
  let directory: string;
  let own: string;
  beforeEach(() => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), "nap-roots-")));
    own = join(directory, "root", "me");
    mkdirSync(join(own, "a", "b"), { recursive: true });
    mkdirSync(join(directory, "root", "other"));
    writeFileSync(join(own, "file"), "");
    symlinkSync(directory, join(own, "link"));
    symlinkSync("b", join(own, "a", "inner"));
    symlinkSync(join(directory, "root"), join(directory, "operators"));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const part = fc.constantFrom("a", "b", "..", ".", "", "link", "inner", "file", "root", "x", "\0");
  const path = fc.oneof(
    fc.array(part, { maxLength: 6 }).map((parts) => parts.join("/")),
    fc.string(),
  );

  it("never lead outside the identity's directory nor through a link, whatever the path", async () => {
    const accepted = new Set<string>();
    await fc.assert(
      fc.asyncProperty(path, fc.boolean(), async (text, make) => {
        const roots = new Map([
          ["r", { path: join(directory, "root", "{identity}"), trustedContent: true }],
        ]);
        const found = await hostPathOf(roots, { root: "r", path: text }, "me", make);
        if (typeof found !== "string") return;
        accepted.add(text);
        expect(realpathSync(found)).to.equal(found);
        expect(`${found}/`.startsWith(`${own}/`), found).to.equal(true);
      }),
      {
        numRuns: 300,
        examples: [
          ["a/b", false],
          ["", false],
          ["x/x", true],
        ],
      },
    );
    expect([...accepted]).to.include.members(["a/b", "", "x/x"]);
  });

  it("may be reached through a link that the operator made before the identity", async () => {
    const root = { path: join(directory, "operators", "{identity}"), trustedContent: false };
    const name = { root: "r", path: "" };
    expect(await hostPathOf(new Map([["r", root]]), name, "me", false)).to.equal(own);
    const fault = await hostPathOf(new Map([["r", root]]), name, "nobody", false);
    expect(fault).to.deep.include({ at: "source" });
  });

  it("say of a path that is too long that it is not there", async () => {
    const roots = new Map([["r", { path: own, trustedContent: true }]]);
    const fault = await hostPathOf(roots, { root: "r", path: "x".repeat(300) }, "me", true);
    expect(fault).to.deep.include({ at: "source" });
  });

  it("are not read from a label that nap did not write", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (label) => {
        const value = { origin: { case: "hostPath" as const, value: "/h" } };
        const mount = create(MountSchema, { target: "/t", source: { case: "bind", value } });
        restoreBindRoots([mount], { "nap.v1.bind-roots": label });
        expect(mount.source.case === "bind" && mount.source.value.origin.case).to.equal("hostPath");
      }),
    );
  });
});

/** Who calls: names in certificates, patterns, and the role that each method takes. */
import { expect } from "chai";
import * as fc from "fast-check";
import { local, matchesAny } from "../auth/identity.js";
import { services } from "../core/engines.js";
import { certificateNames } from "./authenticate.js";
import { authorizeMethod, authorizeRequest, roleFor } from "../auth/roles.js";
import { create } from "@bufbuild/protobuf";
import { CreateContainerRequestSchema, PullPolicy } from "../../gen/nap/v1/container_service_pb.js";

const methods = services.flatMap(({ desc }) => desc.methods);

describe("identities", () => {
  it("every method takes a role", () => {
    for (const method of methods) {
      expect(roleFor(method), `${method.name} stands in no role`).not.to.equal(undefined);
    }
  });

  it("a role may call what takes it or less", () => {
    const may = (role: "read" | "operate" | "admin", imageChanges: boolean): string[] =>
      methods
        .filter((method) => {
          try {
            authorizeMethod({ ...local, role, imageChanges }, method);
            return true;
          } catch {
            return false;
          }
        })
        .map(({ name }) => name);
    expect(may("admin", true)).to.have.length(methods.length);
    expect(may("read", true)).to.include("ListContainers").and.not.include("StopContainer");
    expect(may("read", true)).not.to.include("ReadContainerArchive");
    expect(may("operate", true)).to.include.members(["ExecContainer", "PullImage"]);
    expect(may("operate", true)).not.to.include("PruneContainers");
    const without = may("operate", false);
    expect(without).to.include("ListImages");
    for (const name of ["PullImage", "BuildImage", "CommitContainer", "RemoveImage"]) {
      expect(without).not.to.include(name);
    }
  });

  it("a pull policy is a change of images, and privileged options are a permission", () => {
    const request = create(CreateContainerRequestSchema, { pullPolicy: PullPolicy.ALWAYS });
    const limited = { ...local, imageChanges: false, privilegedOptions: false };
    expect(() => authorizeRequest(limited, request, [])).to.throw("pull_policy");
    for (const policy of [PullPolicy.UNSPECIFIED, PullPolicy.NEVER, PullPolicy.IF_NOT_PRESENT]) {
      request.pullPolicy = policy;
      authorizeRequest(limited, request, []);
    }
    expect(() => authorizeRequest(limited, request, ["spec.a", "spec.b"])).to.throw(
      "spec.a, spec.b",
    );
    authorizeRequest(local, request, ["spec.a"]);
  });

  it("a bind root is used by whom it is meant for", () => {
    const origin = { case: "bindRoot" as const, value: { root: "mfs" } };
    const source = { case: "bind" as const, value: { origin } };
    const request = create(CreateContainerRequestSchema, {
      spec: { mounts: [{ target: "/x", source }] },
    });
    authorizeRequest({ ...local, bindRoots: ["m*"] }, request, []);
    expect(() => authorizeRequest({ ...local, bindRoots: ["other"] }, request, [])).to.throw(
      'spec.mounts[0]: it may not use the bind root "mfs"',
    );
  });

  it("patterns match whole names", () => {
    expect(matchesAny(["web*"], "web1")).to.equal(true);
    expect(matchesAny(["web"], "web1")).to.equal(false);
    expect(matchesAny(["*1", "x"], "web1")).to.equal(true);
    expect(matchesAny(["w.b1"], "web1")).to.equal(false);
    expect(matchesAny([], "web1")).to.equal(false);
    expect(matchesAny(["*"], "two\nlines")).to.equal(true);
  });

  it("takes a certificate's URIs before its host names before its one common name", () => {
    expect(
      certificateNames({
        subjectAltName: "DNS:b.example, URI:spiffe://x/a, IP Address:127.0.0.1",
        subject: "O=org\nCN=c",
      }),
    ).to.deep.equal(["spiffe://x/a", "b.example", "c"]);
    expect(certificateNames({ subjectAltName: undefined, subject: "CN=a\nCN=b" })).to.deep.equal(
      [],
    );
  });

  it("no name in a certificate can pass for two", () => {
    const name = fc.string().map((text) => text.replaceAll("\n", ""));
    fc.assert(
      fc.property(fc.array(name, { minLength: 1 }), (names) => {
        // As Node writes them: what could be misread is quoted.
        const write = (text: string): string =>
          /[,"\\]/.test(text) || text === "" ? JSON.stringify(text) : text;
        const subjectAltName = names.map((text) => `DNS:${write(text)}`).join(", ");
        expect(certificateNames({ subjectAltName, subject: "" })).to.deep.equal(names);
      }),
    );
  });
});

/** The sizes of requests that each method takes. */
import type { DescMethod } from "@bufbuild/protobuf";
import { expect } from "chai";
import { services } from "../../core/engines.js";
import { NapError } from "../errors.js";
import { checkLength, requestLimits } from "./request-limits.js";

const methods = services.flatMap(({ desc }) => desc.methods);
const named = (name: string): DescMethod => methods.find((method) => method.name === name)!;
const KiB = 1024;
const MiB = 1024 * KiB;

describe("the size of a request", () => {
  it("is at most 1 MiB where specs, commands or builds are sent, and 256 KiB elsewhere", () => {
    const large = methods.filter((method) => requestLimits(method).first === MiB);
    expect(large.map(({ name }) => name)).to.have.members([
      "CreateContainer",
      "RunContainer",
      "ExecContainer",
      "ExecContainerSync",
      "AttachContainer",
      "BuildImage",
    ]);
    const others = methods.filter((method) => !large.includes(method));
    for (const method of others) {
      expect(requestLimits(method).first, method.name).to.equal(256 * KiB);
    }
  });

  it("is at most 4 MiB in a message of data, which follows the first one of a stream", () => {
    const following = methods.filter((method) => requestLimits(method).following === 4 * MiB);
    expect(following.map(({ name }) => name)).to.have.members([
      "ExecContainer",
      "AttachContainer",
      "WriteContainerArchive",
      "LoadImages",
      "ImportImage",
      "BuildImage",
    ]);
  });

  it("is told with what the method takes where it is too large", () => {
    const method = named("ExecContainerSync");
    const { first } = requestLimits(method);
    checkLength(method, first, first);
    const refused = (): void => checkLength(method, first + 1, first);
    expect(refused)
      .to.throw(NapError, "the request has 1048577 bytes; ExecContainerSync takes at most 1048576")
      .with.property("reason", "REQUEST_TOO_LARGE");
  });
});

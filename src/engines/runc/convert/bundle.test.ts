/** What a runC bundle has of a container's spec. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { ContainerSpecSchema } from "../../../../gen/nap/v1/container_spec_pb.js";
import { ImageConfigSchema } from "../../../../gen/nap/v1/image_service_pb.js";
import { environmentOf } from "./bundle.js";

describe("the environment on runC", () => {
  it("is the image's, changed by the spec, without what the spec unsets", () => {
    const image = create(ImageConfigSchema, {
      environment: { A: "image", B: "image", C: "image" },
    });
    const spec = create(ContainerSpecSchema, {
      tty: true,
      environment: { B: "spec" },
      unsetEnvironment: ["C", "PATH", "TERM", "NONE"],
    });
    expect(environmentOf({ spec, image }, "0123456789abcdef")).to.deep.equal([
      "HOSTNAME=0123456789ab",
      "A=image",
      "B=spec",
    ]);
  });
});

/** Requests are recognized by the labels that nap writes. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { CreateContainerRequestSchema } from "../../gen/nap/v1/container_service_pb.js";
import { local } from "../auth/identity.js";
import { matchesRequest, provenanceLabels } from "./reserved-labels.js";
import { imageSource } from "../../test/support/requests/source.js";

describe("reserved labels", () => {
  it("knows a request again though its maps come in another order", () => {
    const schema = CreateContainerRequestSchema;
    const request = (labels: Record<string, string>) =>
      create(schema, { requestId: "r", spec: { source: imageSource("a"), labels } });
    const labels = provenanceLabels(schema, request({ a: "1", b: "2" }), local);
    expect(matchesRequest(schema, request({ b: "2", a: "1" }), local, labels)).to.equal(true);
    expect(() => matchesRequest(schema, request({ a: "1", b: "3" }), local, labels)).to.throw(
      /another request/,
    );
    expect(matchesRequest(schema, create(schema, {}), local, labels)).to.equal(false);
  });

  it("knows a request_id as the one who used it alone", () => {
    const schema = CreateContainerRequestSchema;
    const request = create(schema, { requestId: "r" });
    const labels = provenanceLabels(schema, request, local);
    const other = { ...local, name: "other" };
    expect(matchesRequest(schema, request, other, labels)).to.equal(false);
    const reused = create(schema, { requestId: "r", name: "n" });
    expect(matchesRequest(schema, reused, other, labels)).to.equal(false);
  });
});

/** The status of each reason: its code and details. */
import { fromBinary } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "../../gen/google/rpc/status_pb.js";
import { ResumeInfoSchema } from "../../gen/nap/v1/errors_pb.js";
import { RetryAdvice } from "../../gen/nap/v1/rules_pb.js";
import type { Reason } from "../contract/errors.js";
import { NapError, reasonRules } from "../contract/errors.js";
import { statusOf } from "./status.js";

function detail<D extends DescMessage>(error: unknown, desc: D): MessageShape<D> | undefined {
  const [bytes] = statusOf(error).metadata.get("grpc-status-details-bin");
  const { details } = fromBinary(StatusSchema, bytes as Buffer);
  return details.map((any) => anyUnpack(any, desc)).find((found) => found !== undefined);
}

describe("statuses", () => {
  it("have the code of their reason, and a time to try again where that can help by itself", () => {
    for (const [reason, { code, retry }] of Object.entries(reasonRules())) {
      const error = new NapError(reason as Reason, "it failed");
      expect(statusOf(error).code, reason).to.equal(code);
      const info = detail(error, ErrorInfoSchema);
      expect(info, reason).to.include({ reason, domain: "nap.v1" });
      const again = detail(error, RetryInfoSchema);
      expect(again !== undefined, reason).to.equal(retry === RetryAdvice.LATER);
    }
  });

  it("tell of whatever else is thrown as INTERNAL", () => {
    for (const thrown of [new TypeError("x is not a function"), "text", undefined]) {
      expect(statusOf(thrown).code).to.equal(Code.INTERNAL);
      expect(detail(thrown, ErrorInfoSchema)?.reason).to.equal("INTERNAL");
    }
  });

  it("carry the cursor of a stream that ended early", () => {
    const error = new NapError("SLOW_CONSUMER", "too slow", { cursor: "c" });
    expect(detail(error, ResumeInfoSchema)?.cursor).to.equal("c");
    expect(detail(new NapError("SLOW_CONSUMER", "too slow"), ResumeInfoSchema)).to.equal(undefined);
  });
});

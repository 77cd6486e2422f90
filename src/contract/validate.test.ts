/** The check of requests against the rules of the contract. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create, fromBinary } from "@bufbuild/protobuf";
import { expect } from "chai";
import {
  CreateContainerRequestSchema,
  StopContainerRequestSchema,
  StreamContainerLogsRequestSchema,
} from "../../gen/nap/v1/container_service_pb.js";
import { contractViolations } from "./validate.js";

type Request = MessageInitShape<typeof CreateContainerRequestSchema>;

const host = { case: "hostPath" as const, value: "/x" };
const tmpfs = { case: "tmpfs" as const, value: {} };

/** Requests and the paths at fault. */
const table: readonly [claim: string, request: Request, ...paths: string[]][] = [
  ["accepts the least", { spec: { image: "a" } }],
  ["wants a spec", {}, "spec"],
  ["wants an image", { spec: {} }, "spec.image"],
  [
    "refuses a number below its minimum, and tells zero from unset",
    { spec: { image: "a", resources: { memoryLimit: { case: "memoryLimitBytes", value: -1n } } } },
    "spec.resources.memory_limit_bytes",
  ],
  [
    "refuses zero where zero is set",
    { spec: { image: "a", shmSizeBytes: 0n } },
    "spec.shm_size_bytes",
  ],
  ["refuses a name with a blank", { name: "a b", spec: { image: "a" } }, "name"],
  ["refuses a name that a newline follows", { name: "ab\n", spec: { image: "a" } }, "name"],
  [
    "refuses a variable without a name and one with a NUL",
    { spec: { image: "a", environment: { "": "1", B: "\0" } } },
    "spec.environment",
    'spec.environment["B"]',
  ],
  [
    "refuses a mount without a source and one without a target",
    { spec: { image: "a", mounts: [{ target: "/t" }, { source: tmpfs }] } },
    "spec.mounts[0].source",
    "spec.mounts[1].target",
  ],
  [
    "refuses a relative path inside a member of a oneof",
    {
      spec: {
        image: "a",
        mounts: [
          { target: "t", source: { case: "bind", value: { origin: { ...host, value: "x" } } } },
        ],
      },
    },
    "spec.mounts[0].target",
    "spec.mounts[0].bind.host_path",
  ],
  [
    "refuses a port above 65535",
    { spec: { image: "a", networkConfig: { portMappings: [{ containerPort: 70_000 }] } } },
    "spec.network_config.port_mappings[0].container_port",
  ],
  [
    "refuses an unknown enum value",
    { spec: { image: "a" }, pullPolicy: 99 as never },
    "pull_policy",
  ],
  ["refuses nap's own labels", { spec: { image: "a", labels: { "nap.v1.x": "" } } }, "spec.labels"],
  [
    "refuses a negative span",
    { spec: { image: "a", stopTimeout: { seconds: -1n } } },
    "spec.stop_timeout",
  ],
  ["counts code points, not UTF-16 units", { spec: { image: "a", hostname: "𝐡".repeat(64) } }],
  [
    "refuses one code point too many",
    { spec: { image: "a", hostname: "𝐡".repeat(65) } },
    "spec.hostname",
  ],
];

describe("validation", () => {
  for (const [claim, request, ...paths] of table) {
    it(claim, () => {
      const message = create(CreateContainerRequestSchema, request);
      const found = contractViolations(CreateContainerRequestSchema, message);
      expect(found.map(({ field }) => field)).to.deep.equal(paths);
    });
  }

  it("finds unknown fields at every depth", () => {
    // spec { image: "a", field 2000: 1, mounts { field 9: "x" } }, field 300: 1
    const bytes = Uint8Array.of(
      0x1a,
      12,
      0x0a,
      1,
      0x61,
      0x80,
      0x7d,
      1,
      0xe2,
      0x01,
      3,
      0x4a,
      1,
      0x78,
      0xe0,
      0x12,
      1,
    );
    const message = fromBinary(CreateContainerRequestSchema, bytes);
    const found = contractViolations(CreateContainerRequestSchema, message);
    const unknown = found.filter(({ kind }) => kind === "FIELD_UNKNOWN");
    expect(unknown.map(({ field }) => field)).to.deep.equal([
      "300",
      "spec.2000",
      "spec.mounts[0].9",
    ]);
  });

  it("refuses an unspecified value in a list of enum values", () => {
    const schema = StreamContainerLogsRequestSchema;
    const message = create(schema, { container: "a", streams: [0, 7 as never] });
    const found = contractViolations(schema, message).map(({ field }) => field);
    expect(found).to.deep.equal(["streams[1]", "streams[0]"]);
  });

  it("accepts a span of zero where one is given", () => {
    const message = create(StopContainerRequestSchema, { container: "a", timeout: {} });
    expect(contractViolations(StopContainerRequestSchema, message)).to.deep.equal([]);
  });
});

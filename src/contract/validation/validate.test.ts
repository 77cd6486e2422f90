/** The check of requests against the rules of the contract. */
import type { DescMessage, Message, MessageInitShape } from "@bufbuild/protobuf";
import { create, fromBinary } from "@bufbuild/protobuf";
import { expect } from "chai";
import {
  CreateContainerRequestSchema,
  ListContainerProcessesRequestSchema,
  ListContainersRequestSchema,
  PullPolicy,
  StopContainerRequestSchema,
  StreamContainerLogsRequestSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { FieldViolation } from "../errors.js";
import { RuleTable } from "./rules.js";
import { contractViolations } from "./validate.js";
import { imageSource } from "../../../test/support/requests/source.js";

type Request = MessageInitShape<typeof CreateContainerRequestSchema>;

const host = { case: "hostPath" as const, value: "/x" };
const tmpfs = { case: "tmpfs" as const, value: {} };

/** Requests and the paths of their violations. */
const requests: readonly [claim: string, request: Request, ...paths: string[]][] = [
  ["accepts the least", { spec: { source: imageSource("a") } }],
  ["wants a spec", {}, "spec"],
  ["wants a source", { spec: {} }, "spec.source"],
  [
    "refuses a number below its minimum, and tells zero from unset",
    {
      spec: {
        source: imageSource("a"),
        resources: { memoryLimitBytes: -1n },
      },
    },
    "spec.resources.memory_limit_bytes",
  ],
  [
    "refuses zero where zero is set",
    { spec: { source: imageSource("a"), shmSizeBytes: 0n } },
    "spec.shm_size_bytes",
  ],
  ["refuses a name with a blank", { name: "a b", spec: { source: imageSource("a") } }, "name"],
  [
    "refuses a name that a newline follows",
    { name: "ab\n", spec: { source: imageSource("a") } },
    "name",
  ],
  [
    "refuses a variable without a name and one with a NUL",
    { spec: { source: imageSource("a"), environment: { "": "1", B: "\0" } } },
    "spec.environment",
    'spec.environment["B"]',
  ],
  [
    "refuses a mount without a source and one without a target",
    { spec: { source: imageSource("a"), mounts: [{ target: "/t" }, { source: tmpfs }] } },
    "spec.mounts[0].source",
    "spec.mounts[1].target",
  ],
  [
    "refuses a relative path inside a member of a oneof",
    {
      spec: {
        source: imageSource("a"),
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
    {
      spec: {
        source: imageSource("a"),
        networkConfig: { portMappings: [{ containerPort: 70_000 }] },
      },
    },
    "spec.network_config.port_mappings[0].container_port",
  ],
  [
    "refuses an unknown enum value",
    { spec: { source: imageSource("a") }, pullPolicy: 99 as never },
    "pull_policy",
  ],
  [
    "refuses to set and to unset one variable",
    {
      spec: {
        source: imageSource("a"),
        environment: { A: "", B: "1" },
        unsetEnvironment: ["C", "A", "D=1"],
      },
    },
    "spec.unset_environment[1]",
    "spec.unset_environment[2]",
  ],
  [
    "refuses a pull where there is nothing to pull",
    {
      spec: { source: { case: "template", value: { name: "debian" } } },
      pullPolicy: PullPolicy.ALWAYS,
      registryCredentials: { kind: { case: "identityToken", value: "t" } },
    },
    "pull_policy",
    "registry_credentials",
  ],
  [
    "wants an origin of a root file system",
    { spec: { source: { case: "rootFilesystem", value: {} } } },
    "spec.root_filesystem.origin",
  ],
  [
    "refuses nap's own labels",
    { spec: { source: imageSource("a"), labels: { "nap.v1.x": "" } } },
    "spec.labels",
  ],
  [
    "refuses a negative span",
    { spec: { source: imageSource("a"), stopTimeout: { seconds: -1n } } },
    "spec.stop_timeout",
  ],
  [
    "counts code points, not UTF-16 units",
    { spec: { source: imageSource("a"), hostname: "𝐡".repeat(64) } },
  ],
  [
    "refuses one code point too many",
    { spec: { source: imageSource("a"), hostname: "𝐡".repeat(65) } },
    "spec.hostname",
  ],
];

describe("validation", () => {
  const table = new RuleTable();
  const violations = (desc: DescMessage, message: Message): FieldViolation[] => [
    ...contractViolations(table, desc, message),
  ];

  for (const [claim, request, ...paths] of requests) {
    it(claim, () => {
      const message = create(CreateContainerRequestSchema, request);
      const found = violations(CreateContainerRequestSchema, message);
      expect(found.map(({ field }) => field)).to.deep.equal(paths);
    });
  }

  it("finds unknown fields at every depth", () => {
    // spec { source: imageSource("a"), field 2000: 1, mounts { field 9: "x" } }, field 300: 1
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
    const found = violations(CreateContainerRequestSchema, message);
    const unknown = found.filter(({ reason }) => reason === "FIELD_UNKNOWN");
    expect(unknown.map(({ field }) => field)).to.deep.equal([
      "300",
      "spec.2000",
      "spec.mounts[0].9",
    ]);
  });

  it("refuses an unspecified value in a list of enum values", () => {
    const schema = StreamContainerLogsRequestSchema;
    const message = create(schema, { container: "a", streams: [0, 7 as never] });
    const found = violations(schema, message).map(({ field }) => field);
    expect(found).to.deep.equal(["streams[1]", "streams[0]"]);
  });

  it("refuses a page of fewer items than none, and takes any larger size", () => {
    for (const [schema, pages] of [
      [ListContainersRequestSchema, {}],
      [ListContainerProcessesRequestSchema, { container: "a" }],
    ] as const) {
      const found = (pageSize: number): string[] =>
        violations(schema, create(schema, { ...pages, pageSize })).map(({ field }) => field);
      expect(found(-1)).to.deep.equal(["page_size"]);
      expect(found(2 ** 31 - 1)).to.deep.equal([]);
    }
  });

  it("accepts a span of zero where one is given", () => {
    const message = create(StopContainerRequestSchema, { container: "a", timeout: {} });
    expect(violations(StopContainerRequestSchema, message)).to.deep.equal([]);
  });
});

/** No request costs more than a bounded work, whatever a client puts into 4 MiB, more than most methods take. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect } from "chai";
import * as fc from "fast-check";
import {
  CreateContainerRequestSchema,
  ListContainersRequestSchema,
} from "../gen/nap/v1/container_service_pb.js";
import {
  ContainerSpecSchema,
  MountSchema,
  VolumeMountSchema,
} from "../gen/nap/v1/container_spec_pb.js";
import { callLog, newLogger } from "../src/server/access-log.js";
import { Metadata } from "@grpc/grpc-js";
import { local } from "../src/auth/identity.js";
import type { FieldViolation, NapError } from "../src/contract/errors.js";
import { fieldError, firstOf, maxReportedViolations } from "../src/contract/errors.js";
import { services } from "../src/core/engines.js";
import type { Unsupported, UnsupportedFeatures } from "../src/contract/unsupported.js";
import { supportOf, unsupportedFields } from "../src/contract/unsupported.js";
import { walk } from "../src/contract/walk.js";
import { wildcardFits } from "../src/lib/wildcard.js";
import { CallRecorder } from "../src/rpc/call-record.js";
import { authorizeRequest } from "../src/auth/roles.js";
import { RuleTable } from "../src/contract/validation/rules.js";
import { statusOf } from "../src/rpc/status.js";
import { contractViolations } from "../src/contract/validation/validate.js";
import { scanWire, wireBounds } from "../src/contract/validation/wire-bounds.js";
import { Random, randomRequest } from "./fuzz/mutation.js";
import type { LargeRequest } from "./support/requests/large-requests.js";
import { hostileRequests, judge, largestTaken } from "./support/requests/large-requests.js";
import { imageSource } from "./support/requests/source.js";

const table = new RuleTable();
const mostFound = maxReportedViolations + 1;

/** A table of support that refuses every field below a request. */
const refusing: UnsupportedFeatures = {
  fields: new (class extends Map<string, Unsupported> {
    override get(name: string): Unsupported | undefined {
      return name.includes("Request.") ? undefined : { reason: "no" };
    }
  })(),
  values: new Map(),
};

/** Counts what is read of the elements of a list. */
function counted<T>(list: T[]): { list: T[]; reads: () => number } {
  let reads = 0;
  const get = (target: T[], key: string | symbol): unknown => {
    if (typeof key === "string" && /^\d+$/.test(key)) reads++;
    return Reflect.get(target, key);
  };
  return { list: new Proxy(list, { get }), reads: () => reads };
}

function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

/** Judges a request, and checks that this was a bounded work. */
function expectBounded(support: UnsupportedFeatures, request: LargeRequest): NapError | undefined {
  const { claim, desc, bytes } = request;
  const error = judge(table, support, request);
  const found = error?.details.violations?.length ?? 0;
  expect(found, claim).to.be.at.most(mostFound);
  expect(error?.message.length ?? 0, claim).to.be.below(8192);
  if (error?.reason === "MALFORMED_MESSAGE") return error;
  const { messages, values, unknown } = scanWire(table, desc, bytes);
  expect(messages, claim).to.be.at.most(wireBounds.messages + 1);
  expect(values, claim).to.be.at.most(wireBounds.values + 1);
  expect(unknown, claim).to.be.at.most(wireBounds.unknown + 1);
  return error;
}

describe("the bounds of requests", function () {
  this.timeout(300_000);

  it("refuse 4 MiB of each list and map of the contract after a bounded walk", () => {
    const before = heapBytes();
    let count = 0;
    for (const request of hostileRequests()) {
      const error = expectBounded(supportOf([]), request);
      expect(error?.reason, request.claim).to.match(
        /^(FIELD_INVALID|FIELD_UNKNOWN|MALFORMED_MESSAGE)$/,
      );
      count++;
    }
    expect(count).to.be.greaterThan(400);
    expect(heapBytes() - before).to.be.below(16 * 1024 * 1024);
  });

  it("end the check of the largest requests that are taken at the violation behind the last that is told", () => {
    const before = heapBytes();
    let count = 0;
    for (const request of largestTaken(table)) {
      const { violations } = scanWire(table, request.desc, request.bytes);
      expect(violations, request.claim).to.deep.equal([]);
      for (const support of [supportOf([]), refusing]) expectBounded(support, request);
      count++;
    }
    expect(count).to.be.greaterThan(250);
    expect(heapBytes() - before).to.be.below(16 * 1024 * 1024);
  });

  it("read no elements behind the last violation that is looked for", () => {
    const bad = counted(Array.from({ length: 4000 }, () => ""));
    const request = create(ListContainersRequestSchema, { filter: {} });
    request.filter!.names = bad.list;
    const found = firstOf(contractViolations(table, ListContainersRequestSchema, request));
    expect(found).to.have.lengthOf(mostFound);
    expect(bad.reads()).to.be.at.most(mostFound);
  });

  it("hold for what an engine does not support, and for privileged fields", () => {
    const mounts = Array.from({ length: 1000 }, () => ({ target: "/t" }));
    const request = create(CreateContainerRequestSchema, {
      spec: { source: imageSource("a"), mounts },
    });
    const read = counted(request.spec!.mounts);
    request.spec!.mounts = read.list;
    const refused = supportOf([{ field: "nap.v1.Mount.target", reason: "no" }]);
    const found = firstOf(unsupportedFields(refused, CreateContainerRequestSchema, request));
    expect(found).to.have.lengthOf(mostFound);
    expect(read.reads()).to.be.at.most(mostFound);
    let asked = 0;
    function* privileged(): Generator<string> {
      for (;;) yield `spec.devices[${asked++}]`;
    }
    const reader = { ...local, privilegedOptions: false };
    expect(() => authorizeRequest(reader, request, privileged())).to.throw(
      /devices\[15\] and more$/,
    );
    expect(asked).to.equal(mostFound);
    authorizeRequest(local, request, privileged());
    expect(asked).to.equal(mostFound);
  });

  it("name the list that is too long, and the fields that are unknown", () => {
    const labels = Array.from({ length: 1025 }, () => ({ key: "a" }));
    const list = create(ListContainersRequestSchema, { filter: { labels } });
    const bytes = toBinary(ListContainersRequestSchema, list);
    expect(scanWire(table, ListContainersRequestSchema, bytes).violations).to.deep.equal([
      {
        field: "filter.labels",
        description: "has more than 1024 entries",
        reason: "FIELD_INVALID",
      },
    ]);
    // filter { field 99: 1 … }
    const unknown = Buffer.concat(Array.from({ length: 17 }, () => Buffer.from([0x98, 6, 1])));
    const inFilter = Buffer.concat([Buffer.from([0x12, unknown.length]), unknown]);
    const { violations } = scanWire(table, ListContainersRequestSchema, inFilter);
    expect(violations).to.have.lengthOf(17);
    expect(violations[0]?.field).to.equal("filter.99");
    expect(violations[0]?.description).to.match(/knows no field number 99 in nap\.v1\.Container/);
  });

  it("also hold for a list in parts of a message that is sent several times", () => {
    const labels = Array.from({ length: 1000 }, () => ({ key: "a" }));
    const list = create(ListContainersRequestSchema, { filter: { labels } });
    const bytes = toBinary(ListContainersRequestSchema, list);
    const twice = {
      claim: "",
      desc: ListContainersRequestSchema,
      bytes: Buffer.concat([bytes, bytes]),
    };
    const found = judge(table, supportOf([]), twice)?.details.violations ?? [];
    expect(found.map(({ field }) => field)).to.deep.equal(["filter.labels"]);
  });

  it("are the same on the wire as counted in the decoded message", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 1100 }),
        fc.nat({ max: 5000 }),
        fc.nat({ max: 300 }),
        (labels, states, nested) => {
          const value = create(VolumeMountSchema, {
            createSpec: { labels: { a: "b", c: "d" } },
          });
          const spec = create(ContainerSpecSchema, {
            mounts: Array.from({ length: nested }, () =>
              create(MountSchema, { source: { case: "volume", value } }),
            ),
          });
          const listed = create(ListContainersRequestSchema, {
            filter: {
              labels: Array.from({ length: labels }, () => ({})),
              states: Array.from({ length: states }, () => 1),
            },
          });
          for (const [desc, message] of [
            [ListContainersRequestSchema, listed],
            [ContainerSpecSchema, spec],
          ] as const) {
            const scan = scanWire(table, desc, toBinary(desc as DescMessage, message));
            const [most, long] = overlong(desc, message);
            expect(scan.violations.map(({ field }) => field)).to.have.members(long);
            if (long.length === 0) expect(scan.messages).to.equal(most);
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it("take random requests that the decoder takes, and fail in no other way on any bytes", () => {
    const methods = services.flatMap(({ desc }) => desc.methods);
    fc.assert(
      fc.property(fc.integer({ min: 1 }), (seed) => {
        const random = new Random(seed);
        const { input } = random.pick(methods);
        const bytes = randomRequest(input, random, true);
        let message: Message;
        try {
          if (scanWire(table, input, bytes).violations.length > 0) return;
          message = fromBinary(input, bytes);
        } catch (error) {
          expect(error).to.be.instanceOf(Error);
          return;
        }
        const again = scanWire(table, input, toBinary(input, message));
        expect(again.violations).to.deep.equal([]);
        expect([again.messages, []]).to.deep.equal(overlong(input, message));
      }),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          scanWire(table, CreateContainerRequestSchema, bytes);
        } catch (error) {
          expect(error).to.be.instanceOf(RangeError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("keep errors, statuses and lines of the log short, whatever a request's keys are", () => {
    const reason = "FIELD_INVALID";
    const violations = Array.from({ length: 5000 }, (_, n) => ({
      field: `spec.labels["${"x".repeat(2000)}${n}"]`,
      description: "y".repeat(2000),
      reason,
    })) as FieldViolation[];
    const error = fieldError(violations);
    expect(error.message.length).to.be.below(6000);
    expect(error.details.violations).to.have.lengthOf(mostFound);
    const { metadata } = statusOf(error);
    const [details] = metadata.get("grpc-status-details-bin");
    expect(details?.length).to.be.below(8192);
    expect(String(details)).to.include("(and more violations)");
    const lines: string[] = [];
    const log = newLogger("info", { write: (line) => void lines.push(line) });
    const [method] = services[0].desc.methods;
    new CallRecorder(method!, new Metadata(), callLog(log)).close(error, 3);
    const fault = new Error(`a\n${"    at client\n".repeat(100_000)}`);
    new CallRecorder(method!, new Metadata(), callLog(log)).close(fault, 13);
    expect(lines).to.have.lengthOf(2);
    const { fields } = JSON.parse(lines[0]!) as { fields: string[] };
    expect(fields).to.have.lengthOf(maxReportedViolations);
    for (const line of lines) expect(line.length).to.be.below(8192);
  });

  it("hold for patterns: a text with many wildcards is matched in no more than their product", () => {
    const words = fc.string({ unit: fc.constantFrom("a", "b", "/", ":", "*"), maxLength: 8 });
    fc.assert(
      fc.property(words, words, fc.constantFrom("", "/:"), (pattern, text, barred) => {
        const any = barred === "" ? ".*" : "[^/:]*";
        const parts = pattern.split("*");
        const plain = new RegExp(`^${parts.join(any)}$`, "s");
        expect(wildcardFits(pattern, text, barred)).to.equal(plain.test(text));
      }),
      { numRuns: 20_000 },
    );
    expect(wildcardFits("*a".repeat(200) + "b", "a".repeat(20_000))).to.equal(false);
  });
});

/** How many messages and map entries there are below a message, and the lists and maps that are too long. */
function overlong(desc: DescMessage, message: Message): [count: number, paths: string[]] {
  const paths: string[] = [];
  let count = -1;
  for (const { path, message: each } of walk(desc, message)) {
    count++;
    for (const field of each.fields) {
      if (field.fieldKind === "map")
        count += field.mapKind === "message" ? 0 : each.get(field).size;
      if (field.fieldKind !== "list" && field.fieldKind !== "map") continue;
      const { maxItems } = table.of(each.desc).byNumber.get(field.number)!;
      const at = path === "" ? field.name : `${path}.${field.name}`;
      if (each.get(field).size > maxItems) paths.push(at);
    }
  }
  return [count, paths];
}

/** The rules of the contract that can be checked on its descriptors. */
import type { DescField, DescFile, DescMessage } from "@bufbuild/protobuf";
import { getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Label } from "@bufbuild/protobuf/wkt";
import { status as Code } from "@grpc/grpc-js";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { file_nap_v1_container_spec } from "../../gen/nap/v1/container_spec_pb.js";
import { ErrorReasonSchema, file_nap_v1_errors } from "../../gen/nap/v1/errors_pb.js";
import {
  file_nap_v1_rules,
  oneof_rules,
  ReferenceKind,
  refers_to,
  RetryAdvice,
  rules,
  StatusCode,
} from "../../gen/nap/v1/rules_pb.js";
import { file_nap_v1_types } from "../../gen/nap/v1/types_pb.js";
import { services } from "../core/engines.js";
import { reasonRules } from "./errors.js";
import { openField } from "./open.js";
import { fieldName, supportEntries } from "./unsupported.js";
import { runcSupport } from "../engines/runc/support.js";
import { dockerSupport } from "../engines/docker/support.js";
import { fieldKeys } from "../../test/support/requests/keys.js";

const proto = join(import.meta.dirname, "..", "..", "proto");

const files: readonly DescFile[] = [
  ...services.map(({ desc }) => desc.file),
  file_nap_v1_container_spec,
  file_nap_v1_errors,
  file_nap_v1_types,
  file_nap_v1_rules,
];
const methods = services.flatMap(({ desc }) => desc.methods);
/** The message that names the object of a method: its request or, for a stream, the request's `open`. */
const targets = new Map(
  methods.map(({ name, input }) => [name, openField(input)?.message ?? input] as const),
);

function* messagesIn(messages: readonly DescMessage[]): Generator<DescMessage> {
  for (const message of messages) {
    yield message;
    yield* messagesIn(message.nestedMessages);
  }
}
const messages = files.flatMap((file) => [...messagesIn(file.messages)]);
const fields = messages.flatMap((message) => message.fields);

/** Every message that a request can hold, the requests themselves included. */
const requestMessages = new Set<DescMessage>();
function addBelow(message: DescMessage): void {
  if (requestMessages.has(message)) return;
  requestMessages.add(message);
  for (const field of message.fields) if (field.message !== undefined) addBelow(field.message);
}
for (const { input } of methods) addBelow(input);

/** Reserved words of Python, Go and Java. */
const keywords = new Set(
  `False None True and as assert async await break class continue def del elif else except finally
   for from global if import in is lambda nonlocal not or pass raise return try while with yield
   chan case const default defer fallthrough func go goto interface map package range select struct
   switch type var abstract boolean byte catch char do double enum extends final float implements
   instanceof int long native new private protected public short static strictfp super synchronized
   this throw throws transient void volatile`.split(/\s+/),
);

describe("contract", () => {
  it("has every method of the design", () => {
    const names = services.map(({ desc }) => [desc.name, desc.methods.length]);
    expect(names).to.deep.equal([
      ["ContainerService", 29],
      ["VolumeService", 5],
      ["NetworkService", 7],
      ["ImageService", 12],
      ["EngineService", 5],
    ]);
  });

  it("begins every stream of requests with open, beside which nothing stands", () => {
    for (const { input, methodKind } of methods) {
      const streams = methodKind === "client_streaming" || methodKind === "bidi_streaming";
      expect(openField(input) !== undefined, input.name).to.equal(streams);
      if (!streams) continue;
      const [payload, ...others] = input.oneofs;
      expect([payload?.name, others], input.name).to.deep.equal(["payload", []]);
      expect(payload?.fields, input.name).to.deep.equal(input.fields);
      expect(getOption(payload!, oneof_rules).required, input.name).to.equal(true);
      expect([openField(input)?.number, openField(input)?.fieldKind]).to.deep.equal([1, "message"]);
      expect(openField(input)?.message.name, input.name).to.match(/Open$/);
    }
  });

  it("has `string engine = 1` in every request or its open, but that of ListEngines", () => {
    for (const { name } of methods) {
      if (name === "ListEngines") continue;
      const input = targets.get(name)!;
      const engine = input.fields.find(({ number }) => number === 1);
      expect(engine?.name, input.name).to.equal("engine");
      expect(engine?.scalar, input.name).to.equal(ScalarType.STRING);
    }
  });

  it("names a container by `string container = 2` in every request or open that names one", () => {
    for (const input of targets.values()) {
      const container = input.field["container"];
      if (container === undefined) continue;
      expect([container.number, container.scalar], input.name).to.deep.equal([
        2,
        ScalarType.STRING,
      ]);
    }
    expect([...targets.values()].filter(({ field }) => "container" in field)).to.have.length(25);
  });

  it("bounds the pages of every list alike", () => {
    const paged = messages.filter(({ field }) => field["pageToken"] ?? field["pageSize"]);
    expect(paged).to.have.length(7);
    for (const { field, name } of paged) {
      const [size, token] = [field["pageSize"]!, field["pageToken"]!];
      expect([size.number, size.scalar], name).to.deep.equal([3, ScalarType.INT32]);
      expect([token.number, token.scalar], name).to.deep.equal([4, ScalarType.STRING]);
      expect(getOption(size, rules), name).to.deep.include({ minimum: 0n });
      expect(getOption(size, rules).maximum, name).to.equal(undefined);
      expect(getOption(token, rules).maxLength, name).to.equal(1024);
    }
  });

  it("requires what names an object, in every request or its open", () => {
    for (const input of targets.values()) {
      // The engine has a default network for builds.
      if (input.name === "BuildImageOpen") continue;
      for (const name of ["container", "volume", "network", "image"]) {
        const field = input.field[name];
        if (field === undefined) continue;
        expect(
          hasOption(field, rules) && getOption(field, rules).required,
          `${input.name}.${name}`,
        ).to.equal(true);
      }
    }
  });

  it("says of each string of a request that names an object which kind it refers to", () => {
    const kinds: Readonly<Record<string, ReferenceKind>> = {
      container: ReferenceKind.CONTAINER,
      volume: ReferenceKind.VOLUME,
      network: ReferenceKind.NETWORK,
      image: ReferenceKind.IMAGE,
    };
    const requestFields = [...requestMessages].flatMap((message) => message.fields);
    const naming = requestFields.filter(
      ({ name, scalar }) => scalar === ScalarType.STRING && name in kinds,
    );
    expect(naming.length).to.be.greaterThan(40);
    for (const field of naming) {
      const said = hasOption(field, refers_to) && getOption(field, refers_to);
      expect(said, fieldName(field)).to.equal(kinds[field.name]);
    }
    const said = requestFields.filter((field) => hasOption(field, refers_to));
    for (const field of said) expect(field.scalar, fieldName(field)).to.equal(ScalarType.STRING);
  });

  it("has presence for every scalar of a spec that has a default of the engine's", () => {
    const specs = messages.filter(({ name }) =>
      [
        "ContainerSpec",
        "Resources",
        "Security",
        "NetworkConfig",
        "NetworkSpec",
        "VolumeSpec",
        "Mount",
      ].includes(name),
    );
    expect(specs).to.have.length(7);
    for (const field of specs.flatMap((spec) => spec.fields)) {
      if (field.fieldKind !== "scalar" || isRequired(field)) continue;
      const { label } = field.proto;
      expect(label === FieldDescriptorProto_Label.REPEATED, fieldName(field)).to.equal(false);
      expect(field.proto.proto3Optional || field.oneof !== undefined, fieldName(field)).to.equal(
        true,
      );
    }
  });

  it("uses no keyword of Python, Go or Java as a name", () => {
    for (const { name, parent } of fields) expect(keywords, parent.name).not.to.include(name);
    for (const { oneofs } of messages)
      for (const { name } of oneofs) expect(keywords).not.to.include(name);
  });

  it("says times and spans by their types, and units in names", () => {
    for (const field of fields) {
      const at = fieldName(field);
      if (/(_time|_before|^since|^until)$/.test(field.name)) {
        expect(field.message?.typeName, at).to.match(/^google\.protobuf\.(Timestamp|Duration)$/);
      }
      if (/(timeout|interval|period)$/.test(field.name)) {
        expect(field.message?.typeName, at).to.equal("google.protobuf.Duration");
      }
    }
  });

  it("imports nothing but google/protobuf and itself", () => {
    for (const { proto: file } of files) {
      for (const path of file.dependency) expect(path).to.match(/^(google\/protobuf|nap\/v1)\//);
    }
  });

  it("declares patterns that compile", () => {
    for (const field of fields) {
      if (!hasOption(field, rules)) continue;
      const { pattern, items, keys } = getOption(field, rules);
      for (const text of [pattern, items?.pattern, keys?.pattern]) {
        expect(() => new RegExp(text ?? "", "u"), fieldName(field)).not.to.throw();
      }
    }
  });

  it("bounds everything in a request that can grow", () => {
    const unbounded: string[] = [];
    for (const field of [...requestMessages].flatMap((message) => message.fields)) {
      const at = fieldName(field);
      const declared = hasOption(field, rules) ? getOption(field, rules) : undefined;
      const isMany = field.fieldKind === "list" || field.fieldKind === "map";
      if (isMany && !declared?.maxItems) unbounded.push(`max_items of ${at}`);
      const hasTextKeys = field.fieldKind === "map" && field.mapKey === ScalarType.STRING;
      if (hasTextKeys && !declared?.keys?.maxLength) unbounded.push(`keys.max_length of ${at}`);
      if (field.scalar !== ScalarType.STRING && field.scalar !== ScalarType.BYTES) continue;
      const value = isMany ? declared?.items : declared;
      if (!value?.maxLength) unbounded.push(`max_length of ${at}`);
    }
    expect(unbounded).to.deep.equal([]);
  });

  it("gives every error reason a gRPC code and a retry advice", () => {
    const rulesOf = Object.entries(reasonRules());
    expect(rulesOf).to.have.length(ErrorReasonSchema.values.length - 1);
    for (const [reason, { code, retry }] of rulesOf) {
      expect(code, reason).not.to.equal(StatusCode.UNSPECIFIED);
      expect(retry, reason).not.to.equal(RetryAdvice.UNSPECIFIED);
      // gRPC libraries retry UNAVAILABLE automatically.
      if (code === StatusCode.UNAVAILABLE) expect(retry, reason).to.equal(RetryAdvice.LATER);
    }
  });

  it("names every error reason at the calls that can fail with it", () => {
    const directory = join(proto, "nap/v1");
    const sources = readdirSync(directory).filter((name) => name.endsWith("_service.proto"));
    const text = sources.map((name) => readFileSync(join(directory, name), "utf8")).join("\n");
    const named = new Set(text.match(/\b[A-Z_]+\b/g));
    for (const reason of Object.keys(reasonRules())) expect(named).to.include(reason);
  });

  it("numbers status codes as gRPC does", () => {
    const { OK: _ok, ...codes } = Object.fromEntries(
      Object.entries(Code).filter(([, code]) => typeof code === "number"),
    );
    const { UNSPECIFIED: _none, ...ours } = Object.fromEntries(
      Object.entries(StatusCode).filter(([, code]) => typeof code === "number"),
    );
    expect(ours).to.deep.equal(codes);
  });

  it("has every name that an engine's support table refuses", () => {
    const names = fieldKeys(messages);
    const limits = { MemoryLimit: false, SwapLimit: false, PidsLimit: false };
    const info = { CgroupVersion: "2", SecurityOptions: [], ...limits };
    for (const table of [
      dockerSupport("1.41", info, { files: false, processes: true }),
      runcSupport(),
    ]) {
      for (const { field, value } of supportEntries(table)) {
        expect([...names.keys()], field).to.include(field);
        if (value === undefined) continue;
        expect(
          names.get(field)?.enum?.values.map(({ name }) => name),
          field,
        ).to.include(value);
      }
    }
  });
});

function isRequired(field: DescField): boolean {
  return hasOption(field, rules) && getOption(field, rules).required;
}

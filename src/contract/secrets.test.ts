/** Secrets of requests, which no error and no line of the log repeats. */
import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { create, getOption, hasOption, ScalarType } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { Metadata } from "@grpc/grpc-js";
import { expect } from "chai";
import { rules } from "../../gen/nap/v1/rules_pb.js";
import { PullImageRequestSchema } from "../../gen/nap/v1/image_service_pb.js";
import { services } from "../core/engines.js";
import { CallRecorder } from "../rpc/call-record.js";
import { statusOf } from "../rpc/status.js";
import { callLog, newLogger } from "../server/access-log.js";
import { fieldError, firstOf, NapError } from "./errors.js";
import { RuleTable } from "./validation/rules.js";
import { secretsIn, withoutSecrets } from "./secrets.js";
import { contractViolations } from "./validation/validate.js";

const table = new RuleTable();
const methods = services.flatMap(({ desc }) => desc.methods);

/** The ways from a message down to its secrets. */
function* waysToSecrets(desc: DescMessage, above: DescField[] = []): Generator<DescField[]> {
  for (const field of desc.fields) {
    const way = [...above, field];
    if (hasOption(field, rules) && getOption(field, rules).secret) yield way;
    const below = field.message;
    if (below !== undefined && !above.some(({ parent }) => parent === below)) {
      yield* waysToSecrets(below, way);
    }
  }
}

/** A message with a text at the end of a way. */
function messageWith(desc: DescMessage, [field, ...below]: DescField[], text: string): Message {
  const message = create(desc);
  if (field === undefined) return message;
  const target = reflect(desc, message);
  const value = (): Message => messageWith(field.message!, below, text);
  if (field.fieldKind === "map") {
    target.set(field, reflectMapOf(target.get(field), reflect(field.message!, value())));
  } else if (field.fieldKind === "list") {
    target.get(field).add(reflect(field.message!, value()));
  } else {
    target.set(field, field.message === undefined ? text : reflect(field.message, value()));
  }
  return message;
}

function reflectMapOf<M extends { set(key: string, value: unknown): unknown }>(
  map: M,
  value: unknown,
): M {
  map.set("registry", value);
  return map;
}

describe("secrets", () => {
  it("of every request stand in no violation, no status and no line of the log", () => {
    let count = 0;
    for (const method of methods) {
      for (const way of waysToSecrets(method.input)) {
        expect(way.at(-1)?.scalar).to.equal(ScalarType.STRING);
        const secret = `a-secret\0${"x".repeat(100_000)}`;
        const request = messageWith(method.input, way, secret);
        expect(secretsIn(table, method.input, request), method.name).to.deep.equal([secret]);
        const found = firstOf(contractViolations(table, method.input, request));
        const error = fieldError(found);
        expect(JSON.stringify(found)).not.to.include("a-secret");
        const fault = new Error(`cannot use ${secret}`);
        const lines: string[] = [];
        const log = newLogger("info", { write: (line) => void lines.push(line) });
        for (const each of [error, fault]) {
          const status = statusOf(each, [secret]);
          const [details] = status.metadata.get("grpc-status-details-bin");
          expect(status.details + String(details)).not.to.include("a-secret");
          new CallRecorder(method, new Metadata(), callLog(log)).close(each, status.code);
        }
        expect(lines).to.have.lengthOf(2);
        expect(lines.join("")).not.to.include("a-secret");
        count++;
      }
    }
    expect(count).to.be.at.least(15);
  });

  it("that an engine repeats are taken out of its words", () => {
    const value = { username: "nap", password: "hunter2" };
    const request = create(PullImageRequestSchema, {
      registryCredentials: { kind: { case: "login", value } },
    });
    const secrets = secretsIn(table, PullImageRequestSchema, request);
    expect(secrets).to.deep.equal(["hunter2"]);
    const error = new NapError("REGISTRY_AUTH_REQUIRED", "denied: hunter2", {
      engineMessage: "hunter2 is wrong for nap, hunter2",
      violations: [{ field: "image", description: "not hunter2", reason: "FIELD_INVALID" }],
    });
    const { details, metadata } = statusOf(error, secrets);
    expect(details).to.equal("denied: [secret]");
    const bytes = String(metadata.get("grpc-status-details-bin")[0]);
    expect(bytes).to.include("[secret] is wrong for nap, [secret]").and.to.include("not [secret]");
    expect(bytes).not.to.include("hunter2");
  });

  it("are taken out whole where one is a part of another", () => {
    expect(withoutSecrets("abc ab $& a", ["ab", "abc"])).to.equal("[secret] [secret] $& a");
  });
});

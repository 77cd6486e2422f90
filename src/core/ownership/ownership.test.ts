/** References and errors of an identity that sees only its own objects. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { create, ScalarType } from "@bufbuild/protobuf";
import { expect } from "chai";
import {
  AttachContainerRequestSchema,
  CreateContainerRequestSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import { ConnectContainerRequestSchema } from "../../../gen/nap/v1/network_service_pb.js";
import { NapError } from "../../contract/errors.js";
import { ownError } from "./errors.js";
import { referenceKind, referencesIn } from "./references.js";
import { services } from "../engines.js";
import { fieldName } from "../../contract/unsupported.js";
import { imageSource } from "../../../test/support/requests/source.js";

/** Fields that sound like references and need not be resolved. */
const noReferences: ReadonlySet<string> = new Set([
  // They select among what is the identity's own anyway.
  "nap.v1.ContainerFilter.networks",
  "nap.v1.ContainerFilter.volumes",
  "nap.v1.EventFilter.containers",
  "nap.v1.EventFilter.networks",
  "nap.v1.EventFilter.volumes",
  // A path.
  "nap.v1.DeviceMapping.container_path",
]);

/** Every field of text that a request can hold, with the kind of what it refers to. */
function textFields(): Map<string, ReturnType<typeof referenceKind>> {
  const found = new Map<string, ReturnType<typeof referenceKind>>();
  for (const { input } of services.flatMap(({ desc }) => desc.methods)) {
    const seen = new Set<string>();
    const visit = (desc: DescMessage): void => {
      if (seen.has(desc.typeName)) return;
      seen.add(desc.typeName);
      for (const field of desc.fields) {
        if (field.message !== undefined) visit(field.message);
        else if (isText(field)) found.set(fieldName(field), referenceKind(field));
      }
    };
    visit(input);
  }
  return found;
}

function isText(field: DescField): boolean {
  const scalar = field.fieldKind === "enum" ? undefined : field.scalar;
  return scalar === ScalarType.STRING;
}

describe("references of the core", () => {
  const fields = textFields();

  it("are known for every field that sounds like one", () => {
    const sounding = [...fields].filter(([name]) =>
      /container|volume|network|config_from/.test(name.slice(name.lastIndexOf(".") + 1)),
    );
    expect(sounding.length).to.be.greaterThan(40);
    const unknown = sounding.filter(
      ([name, kind]) => kind === undefined && !noReferences.has(name),
    );
    expect(unknown).to.deep.equal([]);
  });

  it("are none where a request only selects by a name", () => {
    for (const name of noReferences) {
      expect(fields.has(name), name).to.equal(true);
      expect(fields.get(name), name).to.equal(undefined);
    }
  });

  it("are found wherever a spec has them, and replaced in their place", () => {
    const request = create(CreateContainerRequestSchema, {
      engine: "e",
      name: "n",
      spec: {
        source: imageSource("i"),
        volumesFrom: [{ container: "c1" }],
        namespaces: {
          pid: { mode: { case: "container", value: "c2" } },
          ipc: { mode: { case: "container", value: "c3" } },
        },
        networks: [{ network: "n1", endpoint: { links: [{ container: "c4", alias: "a" }] } }],
        mounts: [
          { target: "/v", source: { case: "volume", value: { volume: "v1" } } },
          { target: "/w", source: { case: "volume", value: {} } },
          { target: "/i", source: { case: "image", value: { image: "other" } } },
        ],
      },
    });
    const desc = CreateContainerRequestSchema;
    const texts = (): string[] => [...referencesIn(desc, request)].map(({ text }) => text);
    expect(texts().toSorted()).to.deep.equal(["c1", "c2", "c3", "c4", "n1", "v1"]);
    for (const reference of referencesIn(desc, request)) reference.replace(`x${reference.text}`);
    expect(texts().toSorted()).to.deep.equal(["xc1", "xc2", "xc3", "xc4", "xn1", "xv1"]);
    expect(request.spec?.source.value).to.equal("i");
    const mode = create(desc, {
      spec: { namespaces: { network: { mode: { case: "container", value: "c" } } } },
    });
    expect([...referencesIn(desc, mode)].map(({ kind }) => kind)).to.deep.equal(["container"]);
    const copy = create(desc, {
      spec: { source: { case: "copy", value: { container: "c" } } },
    });
    expect([...referencesIn(desc, copy)].map(({ kind }) => kind)).to.deep.equal(["container"]);
  });

  it("of a request are its own fields and those of its open, where they are not empty", () => {
    const connect = create(ConnectContainerRequestSchema, { container: "c", network: "n" });
    const found = [...referencesIn(ConnectContainerRequestSchema, connect)];
    expect(found.map(({ kind, text }) => [kind, text])).to.deep.equal([
      ["container", "c"],
      ["network", "n"],
    ]);
    const attach = create(AttachContainerRequestSchema, {
      payload: { case: "open", value: { container: "c" } },
    });
    const opened = [...referencesIn(AttachContainerRequestSchema, attach)];
    expect(opened.map(({ kind, text }) => [kind, text])).to.deep.equal([["container", "c"]]);
    const later = create(AttachContainerRequestSchema, {
      payload: { case: "stdin", value: new Uint8Array() },
    });
    expect([...referencesIn(AttachContainerRequestSchema, later)]).to.deep.equal([]);
  });
});

describe("failures that the core shows to who sees only his own", () => {
  const id = "0123456789abcdef".repeat(4);
  const nobody = (): boolean => false;
  const shown = (error: NapError, given: string[] = []): NapError => {
    const references = given.map((text) => ({
      kind: "container" as const,
      given: text,
      used: id,
    }));
    return ownError(error, references, nobody) as NapError;
  };

  it("name no container of another that has the name, and no engine's words", () => {
    const words = `Conflict. The container name "/a" is already in use by container "${id}".`;
    const { message, details } = shown(
      new NapError("NAME_IN_USE", `a: ${words}`, { resource: "a", engineMessage: words }),
    );
    expect(message).to.equal("a: the name is taken");
    expect(details).to.deep.equal({ resource: "a" });
  });

  it("name the users of a thing only where they are his", () => {
    const error = new NapError("RESOURCE_IN_USE", "v is used by x, y", { users: ["x", "y"] });
    const told = ownError(error, [], (user) => user === "y") as NapError;
    expect(told.message).to.equal("it is in use");
    expect(told.details.users).to.deep.equal(["y"]);
  });

  it("name no ids but those that he gave", () => {
    const short = id.slice(0, 12);
    const words = `network ${id} (br-${short}): conflicts with ${short}, sha256:${id}`;
    expect(shown(new NapError("ENGINE_ERROR", words)).message).to.equal(
      `network … (br-…): conflicts with …, sha256:${id}`,
    );
    const own = new NapError("CONTAINER_NOT_RUNNING", `${id}: it does not run`, { resource: id });
    expect(shown(own, ["web"]).message).to.equal("web: it does not run");
    expect(shown(own, [id]).message).to.equal(`${id}: it does not run`);
  });

  it("say of what went away meanwhile what they say of what never was", () => {
    const gone = new NapError("CONTAINER_NOT_FOUND", `No such container: ${id}`, { resource: id });
    const never = new NapError("CONTAINER_NOT_FOUND", "web: there is no such container", {
      resource: "web",
    });
    for (const error of [gone, never]) {
      const { message, details } = shown(error, ["web"]);
      expect(message).to.equal("web: there is no such container");
      expect(details).to.deep.equal({ resource: "web" });
    }
  });
});

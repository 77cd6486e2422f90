/** What every method says of what can go wrong in any of them: a table of situations, over all methods. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import type { DescMessage, DescMethod } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { PullPolicy } from "../../gen/nap/v1/container_service_pb.js";
import { ContainerSpecSchema } from "../../gen/nap/v1/container_spec_pb.js";
import { openField } from "../../src/contract/open.js";
import { services } from "../../src/core/engines.js";
import { callOf } from "../support/client.js";
import type { RpcError } from "../support/client.js";
import { all, failure, openChannel } from "../support/client.js";
import type { TestNap } from "../support/engines/nap.js";
import { startNap } from "../support/engines/nap.js";
import type { DockerBench } from "../docker/cases.js";
import { imageSource } from "../support/requests/source.js";

const absent = "no-such-object";

/** What a request of a method, or its open, needs beside its engine, its objects being absent ones. */
const needs: Readonly<Record<string, object>> = {
  CreateContainer: { spec: { source: imageSource(absent) }, pullPolicy: PullPolicy.NEVER },
  CreateNetwork: { name: absent, spec: {} },
  CreateVolume: { name: absent, spec: {} },
  ExecContainer: { exec: { command: ["true"] } },
  ExecContainerSync: { exec: { command: ["true"] } },
  ReadContainerArchive: { path: "/" },
  RenameContainer: { newName: "new" },
  ResizeContainerTerminal: { size: { columns: 80, rows: 24 } },
  RunContainer: { spec: { source: imageSource(absent) }, pullPolicy: PullPolicy.NEVER },
  SaveImages: { images: [absent] },
  StatContainerPath: { path: "/" },
  TagImage: { reference: "nap-test:tagged" },
  WriteContainerArchive: { path: "/" },
};

const methods = services.flatMap(({ desc }) => desc.methods);

/** What names a method's objects: its request or, of a stream, the open of that. */
function targetOf({ input }: DescMethod): DescMessage {
  return openField(input)?.message ?? input;
}

/** Methods whose request names an object of this kind by a required field of this name. */
function naming(field: string): DescMethod[] {
  return methods.filter(
    (method) =>
      method.name !== "BuildImage" && targetOf(method).field[field]?.fieldKind === "scalar",
  );
}

/** A request that is complete, and whose objects do not exist. */
function requestOf(method: DescMethod, engine: string): object {
  const { name, input } = method;
  const named = ["container", "image", "network", "volume"].filter((field) =>
    naming(field).includes(method),
  );
  const objects = Object.fromEntries(named.map((field) => [field, absent]));
  const value = { ...(name !== "ListEngines" && { engine }), ...objects, ...needs[name] };
  return openField(input) === undefined ? value : { payload: { case: "open", value } };
}

/** Declares the cases. `open` gives their bench when the tests run. */
export function errorTable(openBench: () => DockerBench): void {
  let nap: TestNap;
  let channel: ReturnType<typeof openChannel>;

  before(async () => {
    const { dockerd } = openBench();
    const directory = mkdtempSync(join(dockerd.directory, "errors-"));
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    const away = { driver: "docker", url: `unix://${directory}/none.sock` };
    nap = await startNap(directory, { engines: { docker, away } });
    channel = openChannel(nap.address);
  });

  after(async () => {
    channel.close();
    expect(await nap.stop()).to.equal(0);
  });

  /** How a call of a method fails. */
  async function failureOf(method: DescMethod, ...requests: object[]): Promise<RpcError> {
    const called = callOf(channel, method, ...requests);
    return failure(Symbol.asyncIterator in called ? all(called) : called);
  }

  const ofEngines = methods.filter(({ name }) => name !== "ListEngines");

  for (const method of ofEngines) {
    it(`${method.name} tells a missing engine, a wrong one, one that is away, and an unknown field`, async () => {
      const required = await failureOf(method, requestOf(method, ""));
      expect(required).to.include({ code: Code.INVALID_ARGUMENT, reason: "ENGINE_REQUIRED" });
      const wrong = await failureOf(method, requestOf(method, absent));
      expect(wrong).to.include({ code: Code.NOT_FOUND, reason: "ENGINE_NOT_FOUND" });
      expect(wrong.message).to.include(absent).and.include("docker");
      expect(wrong.resource).to.deep.include({
        resourceType: "nap.v1.Engine",
        resourceName: absent,
      });
      const { unsupportedMethods } = await nap.engines.getEngineCapabilities({ engine: "docker" });
      const away = await failureOf(method, requestOf(method, "away"));
      if (unsupportedMethods.includes(`${method.parent.typeName}/${method.name}`)) {
        expect(away.reason).to.equal("METHOD_UNSUPPORTED");
        return;
      }
      expect(away).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
      expect(away.retryAfterMillis).to.be.greaterThan(0);
      expect(away.info?.metadata["engine"]).to.equal("away");
      expect(away.message).to.include("away");
      const strange = create(method.input, requestOf(method, "docker") as Record<string, unknown>);
      strange.$unknown = [{ no: 4000, wireType: 0, data: Uint8Array.of(1) }];
      const unknown = await failureOf(method, strange);
      expect(unknown).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_UNKNOWN" });
      expect(unknown.fields).to.deep.equal(["4000"]);
    });
  }

  for (const method of ofEngines.filter(({ input }) => openField(input) !== undefined)) {
    it(`${method.name} takes open as its first message and as no other`, async () => {
      const { bench } = openBench();
      const { id: container } = await bench.start({});
      const { payload } = requestOf(method, "docker") as { payload: { value: object } };
      const named = "container" in payload.value ? { container } : {};
      const open = { payload: { case: "open", value: { ...payload.value, ...named } } };
      const other = method.input.fields[1]!.localName;
      const later = { payload: { case: other, value: new Uint8Array(10) } };
      for (const requests of [
        [later, open],
        [open, open],
        [open, later, open],
      ]) {
        const error = await failureOf(method, ...requests);
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
        // ExecOpen and AttachOpen without stdin refuse input, which has come before the second open.
        const refused = requests.length === 3 && other === "stdin" ? "stdin" : "open";
        expect(error.fields).to.deep.equal([refused]);
      }
      const nothing = await failureOf(method, {});
      expect(nothing.fields).to.deep.equal(["payload", "open"]);
      await bench.tidy();
    });
  }

  for (const [field, kind] of [
    ["container", "CONTAINER_NOT_FOUND"],
    ["image", "IMAGE_NOT_FOUND"],
    ["network", "NETWORK_NOT_FOUND"],
    ["volume", "VOLUME_NOT_FOUND"],
  ] as const) {
    for (const method of naming(field)) {
      // A network's methods that name a container too tell of the container in the row above.
      const others = ["container", "network"].filter((name) => naming(name).includes(method));
      if (others.length === 2 && field === "network") continue;
      // A pull asks a registry first.
      if (method.name === "PullImage" && field === "image") continue;
      it(`${method.name} tells that there is no such ${field}`, async () => {
        const error = await failureOf(method, requestOf(method, "docker"));
        if (error.reason === "METHOD_UNSUPPORTED") {
          const { unsupportedMethods } = await nap.engines.getEngineCapabilities({
            engine: "docker",
          });
          expect(unsupportedMethods).to.include(`${method.parent.typeName}/${method.name}`);
          return;
        }
        const kinds = others.length === 2 ? [kind, "NETWORK_NOT_FOUND"] : [kind];
        expect(error.reason).to.be.oneOf(kinds);
        expect(error.code).to.equal(Code.NOT_FOUND);
        expect(error.message).to.include(absent).and.include("docker: ");
        expect(error.info?.metadata).to.include({ engine: "docker", resource: absent });
        expect(error.resource?.resourceName).to.equal(absent);
      });
    }
  }

  for (const [name, reason] of [
    ["CreateContainer", "IMAGE_NOT_FOUND"],
    ["RunContainer", "IMAGE_NOT_FOUND"],
    ["SaveImages", "IMAGE_NOT_FOUND"],
  ] as const) {
    it(`${name} tells that there is no such image`, async () => {
      const method = methods.find((found) => found.name === name)!;
      const error = await failureOf(method, requestOf(method, "docker"));
      if (error.reason === "METHOD_UNSUPPORTED") return;
      expect(error).to.include({ code: Code.NOT_FOUND, reason });
      expect(error.info?.metadata["resource"]).to.equal(absent);
    });
  }

  it("tells of everything that is wrong with a request, whatever it is, at once", async () => {
    const { bench } = openBench();
    const spec = create(ContainerSpecSchema, {
      source: imageSource(bench.image),
      workingDir: "relative",
      lxcConfig: [{ key: "a" }],
      mounts: [{ target: "/x" }],
    });
    spec.$unknown = [{ no: 4000, wireType: 0, data: Uint8Array.of(1) }];
    const request = { engine: "docker", name: "-", spec };
    const error = await failure(nap.containers.createContainer(request));
    expect(error.code).to.equal(Code.INVALID_ARGUMENT);
    expect(error.fields.toSorted()).to.deep.equal([
      "name",
      "spec.4000",
      "spec.lxc_config",
      "spec.mounts[0].source",
      "spec.working_dir",
    ]);
  });
}

/** Images that come from registries and go to them, and registries that refuse. */
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import Docker from "dockerode";
import { PullPolicy } from "../../gen/nap/v1/container_service_pb.js";
import { all, failure } from "../support/client.js";
import type { TestDockerd } from "../support/engines/dockerd.js";
import { startRefusingRegistry } from "../support/engines/refusing-registry.js";
import type { DockerBench } from "./cases.js";
import { imageSource } from "../support/requests/source.js";

/** Declares the cases of registries. */
export function registryCases(open: () => DockerBench): void {
  /** Brings the test image into a registry, by dockerd itself. */
  async function push(dockerd: TestDockerd, host: string, authconfig: object): Promise<string> {
    const docker = new Docker({ socketPath: dockerd.socket, host: undefined, port: undefined });
    const repo = `${host}/nap/pulled`;
    await docker.getImage("nap-test:1").tag({ repo, tag: "1" });
    const image = docker.getImage(`${repo}:1`);
    const stream = await image.push({ authconfig: authconfig as Docker.AuthConfig });
    await new Promise<void>((resolve, reject) => {
      docker.modem.followProgress(stream, (error) => (error ? reject(error) : resolve()));
    });
    await image.remove();
    return `${repo}:1`;
  }

  it("pulls an image with its progress, its digest, and whether it was new", async () => {
    const { dockerd, nap } = open();
    const image = await push(dockerd, dockerd.registry, {});
    const seen = await all(nap.images.pullImage({ engine: "docker", image }));
    const last = seen.at(-1)?.event;
    if (last?.case !== "result") throw new Error("there is no result");
    expect(last.value).to.deep.include({ image });
    expect(last.value.digest).to.match(/^sha256:[0-9a-f]{64}$/);
    const phases = seen.flatMap(({ event }) =>
      event.case === "progress" ? event.value.items.map(({ phase }) => phase) : [],
    );
    expect(phases.length).to.be.greaterThan(1);
    const found = await nap.images.getImage({ engine: "docker", image });
    expect(found.image?.id).to.equal(last.value.imageId);
    expect(found.image?.digests).to.deep.equal([`${image.slice(0, -2)}@${last.value.digest}`]);
    const again = await all(nap.images.pullImage({ engine: "docker", image }));
    const event = again.at(-1)?.event;
    expect(event?.case === "result" && event.value.changed).to.equal(false);
  });

  it("pulls before it creates and runs, as the policy says", async () => {
    const { dockerd, nap, bench } = open();
    const image = await push(dockerd, dockerd.authRegistry, {
      username: "nap",
      password: "secret",
    });
    const value = { username: "nap", password: "secret" };
    const registryCredentials = { kind: { case: "login" as const, value } };
    const request = {
      engine: "docker",
      spec: {
        source: imageSource(image),
        command: { arguments: ["echo", "pulled"] },
        autoRemove: true,
      },
      registryCredentials,
    };
    await nap.images.removeImage({ engine: "docker", image, force: true }).catch(() => undefined);
    const without = { ...request, pullPolicy: PullPolicy.NEVER };
    const never = await failure(all(nap.containers.runContainer(without)));
    expect(never).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
    const first = await all(nap.containers.runContainer(request));
    const kinds = first.map(({ event }) => event.case);
    expect(kinds[0]).to.equal("pullProgress");
    expect(kinds.slice(-4)).to.deep.equal(["created", "started", "output", "exit"]);
    const pullPolicy = PullPolicy.IF_NOT_PRESENT;
    const second = await all(nap.containers.runContainer({ ...request, pullPolicy }));
    expect(second.map(({ event }) => event.case)).not.to.include("pullProgress");
    const created = await nap.containers.createContainer({
      ...request,
      pullPolicy: PullPolicy.ALWAYS,
    });
    bench.forget(created.container?.id ?? "");
    expect(created.container?.spec?.source.value).to.equal(image);
  });

  it("refuses an image that the registry does not have", async () => {
    const { dockerd, nap } = open();
    const image = `${dockerd.registry}/nap/no-such:1`;
    const error = await failure(all(nap.images.pullImage({ engine: "docker", image })));
    expect(error).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
  });

  it("says that a registry does not answer", async () => {
    const { nap } = open();
    const image = "127.0.0.1:9/nap/x:1";
    const error = await failure(all(nap.images.pullImage({ engine: "docker", image })));
    expect(error).to.include({ code: Code.UNAVAILABLE, reason: "REGISTRY_UNREACHABLE" });
  });

  it("pushes with credentials, and pulls back by the digest that it told", async () => {
    const { dockerd, nap, bench } = open();
    const engine = "docker";
    const repository = `${dockerd.authRegistry}/nap/${bench.name("pushed")}`;
    const image = `${repository}:1`;
    await nap.images.tagImage({ engine, image: bench.image, reference: image });
    bench.cleanUp(() => nap.images.removeImage({ engine, image, force: true }));
    const credentials = (password: string) => ({
      kind: { case: "login" as const, value: { username: "nap", password } },
    });
    const none = await failure(all(nap.images.pushImage({ engine, image })));
    expect(none).to.include({ code: Code.FAILED_PRECONDITION, reason: "REGISTRY_AUTH_REQUIRED" });
    const wrong = { engine, image, registryCredentials: credentials("mistaken") };
    const refused = await failure(all(nap.images.pushImage(wrong)));
    expect(refused.reason).to.equal("REGISTRY_AUTH_REQUIRED");
    expect(JSON.stringify([refused.message, refused.info])).not.to.include("mistaken");
    const registryCredentials = credentials("secret");
    const seen = await all(nap.images.pushImage({ engine, image, registryCredentials }));
    const last = seen.at(-1)?.event;
    if (last?.case !== "result") throw new Error("there is no result");
    expect(last.value).to.deep.include({ image, changed: false });
    const items = seen.flatMap(({ event }) => (event.case === "progress" ? event.value.items : []));
    // The registry may have the layer from another repository, and then no bytes move.
    expect(items.map(({ part }) => part).join(" ")).to.match(/\b[0-9a-f]{12}\b/);
    await nap.images.removeImage({ engine, image });
    const byDigest = `${repository}@${last.value.digest}`;
    bench.cleanUp(() => nap.images.removeImage({ engine, image: byDigest, force: true }));
    const pull = { engine, image: byDigest, registryCredentials };
    const pulled = (await all(nap.images.pullImage(pull))).at(-1)?.event;
    expect(pulled?.case === "result" && pulled.value.imageId).to.equal(last.value.imageId);
  });

  it("says why it cannot push: no such image, no registry, a digest", async () => {
    const { nap, bench } = open();
    const engine = "docker";
    const image = "127.0.0.1:9/nap/x:1";
    const missing = await failure(all(nap.images.pushImage({ engine, image })));
    expect(missing).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
    await nap.images.tagImage({ engine, image: bench.image, reference: image });
    bench.cleanUp(() => nap.images.removeImage({ engine, image, force: true }));
    const away = await failure(all(nap.images.pushImage({ engine, image })));
    expect(away).to.include({ code: Code.UNAVAILABLE, reason: "REGISTRY_UNREACHABLE" });
    const digest = `${image.slice(0, -2)}@sha256:${"0".repeat(64)}`;
    const fixed = await failure(all(nap.images.pushImage({ engine, image: digest })));
    expect(fixed).to.include({ reason: "FIELD_INVALID" });
    expect(fixed.fields).to.deep.equal(["image"]);
  });

  it("wants credentials for a registry that does, and pulls with them", async () => {
    const { dockerd, nap } = open();
    const image = await push(dockerd, dockerd.authRegistry, {
      username: "nap",
      password: "secret",
    });
    const engine = "docker";
    const none = await failure(all(nap.images.pullImage({ engine, image })));
    expect(none).to.include({ code: Code.FAILED_PRECONDITION, reason: "REGISTRY_AUTH_REQUIRED" });
    const credentials = (password: string) => ({
      kind: { case: "login" as const, value: { username: "nap", password } },
    });
    const wrong = { engine, image, registryCredentials: credentials("wrong") };
    const refused = await failure(all(nap.images.pullImage(wrong)));
    expect(refused.reason).to.equal("REGISTRY_AUTH_REQUIRED");
    expect(refused.message).not.to.include("wrong");
    // Docker's words have what this password is, by chance.
    const echoed = { engine, image, registryCredentials: credentials("unauthorized") };
    const hidden = await failure(all(nap.images.pullImage(echoed)));
    expect(hidden.reason).to.equal("REGISTRY_AUTH_REQUIRED");
    const words = JSON.stringify([hidden.message, hidden.info]);
    expect(words)
      .to.include("[secret]")
      .and.not.to.match(/unauthorized/);
    const right = { engine, image, registryCredentials: credentials("secret") };
    const seen = await all(nap.images.pullImage(right));
    expect(seen.at(-1)?.event.case).to.equal("result");
  });

  for (const pullPolicy of [PullPolicy.IF_NOT_PRESENT, PullPolicy.ALWAYS]) {
    it(`creates and runs nothing where the registry refuses a pull (${PullPolicy[pullPolicy]})`, async () => {
      const { dockerd, nap, bench } = open();
      const value = { username: "nap", password: "secret" };
      const image = await push(dockerd, dockerd.authRegistry, value);
      const engine = "docker";
      await nap.images.removeImage({ engine, image, force: true }).catch(() => undefined);
      const login = { ...value, password: "mistaken" };
      const registryCredentials = { kind: { case: "login" as const, value: login } };
      const name = bench.name("unpulled");
      const spec = { source: imageSource(image), command: { arguments: ["true"] } };
      const request = { engine, name, spec, pullPolicy, registryCredentials };
      const refusals = [
        await failure(nap.containers.createContainer(request)),
        await failure(all(nap.containers.runContainer(request))),
      ];
      for (const refused of refusals) {
        const code = Code.FAILED_PRECONDITION;
        expect(refused).to.include({ code, reason: "REGISTRY_AUTH_REQUIRED" });
        expect(JSON.stringify([refused.message, refused.info])).not.to.include("mistaken");
      }
      const filter = { names: [name] };
      expect((await nap.containers.listContainers({ engine, filter })).containers).to.deep.equal(
        [],
      );
    });
  }

  it("sends credentials to no registry but the one that they are for", async () => {
    const { dockerd, nap } = open();
    const engine = "docker";
    const value = { username: "nap", password: "secret" };
    const image = await push(dockerd, dockerd.authRegistry, value);
    const login = { case: "login" as const, value };
    for (const serverAddress of [dockerd.registry, "docker.io", "127.0.0.1", ""]) {
      const registryCredentials = { kind: login, serverAddress };
      const spec = { source: imageSource(image), command: { arguments: ["true"] } };
      const pullPolicy = PullPolicy.ALWAYS;
      const container = { engine, spec, pullPolicy, registryCredentials };
      for (const call of [
        (): Promise<unknown> => all(nap.images.pullImage({ engine, image, registryCredentials })),
        (): Promise<unknown> => all(nap.images.pushImage({ engine, image, registryCredentials })),
        (): Promise<unknown> => nap.containers.createContainer(container),
        (): Promise<unknown> => all(nap.containers.runContainer(container)),
      ]) {
        const error = await failure(call());
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
        expect(error.fields).to.deep.equal(["registry_credentials.server_address"]);
      }
    }
    const registryCredentials = { kind: login, serverAddress: dockerd.authRegistry };
    const seen = await all(nap.images.pullImage({ engine, image, registryCredentials }));
    expect(seen.at(-1)?.event.case).to.equal("result");
  });

  it("tells a registry that denies an image from one whose certificate nobody knows", async () => {
    const { dockerd, nap } = open();
    const engine = "docker";
    const registry = await startRefusingRegistry(dockerd);
    try {
      for (const [image, reason] of [
        [`${registry.host}/denied/x:1`, "REGISTRY_AUTH_REQUIRED"],
        [`${registry.host}/forbidden/x:1`, "REGISTRY_AUTH_REQUIRED"],
        [`${registry.secureHost}/denied/x:1`, "REGISTRY_UNREACHABLE"],
      ] as const) {
        const pulled = await failure(all(nap.images.pullImage({ engine, image })));
        expect(pulled.reason, `pull of ${image}: ${pulled.message}`).to.equal(reason);
      }
    } finally {
      await registry.stop();
    }
  });
}

/** What is true of Docker alone, or shown on it for all engines. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, statSync } from "node:fs";
import { createServer, connect } from "node:net";
import type { Server } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { create } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import Docker from "dockerode";
import { PullPolicy } from "../../gen/nap/v1/container_service_pb.js";
import { ContainerSpecSchema, RestartMode } from "../../gen/nap/v1/container_spec_pb.js";
import { EngineState } from "../../gen/nap/v1/engine_service_pb.js";
import { DisconnectAction } from "../../gen/nap/v1/types_pb.js";
import type { Bench } from "../conformance/bench.js";
import { eventually } from "../conformance/bench.js";
import type { RpcError } from "../support/client.js";
import { all, failure } from "../support/client.js";
import { accessCases } from "./access.js";
import { deploymentCases } from "./deployment.js";
import { errorTable } from "./errors.js";
import { dockerFaultCases } from "./faults.js";
import { hostileCases } from "./hostile.js";
import { operationCases } from "./operations.js";
import { importMessages } from "../conformance/images.js";
import type { TestDockerd } from "../support/dockerd.js";
import { startDockerd } from "../support/dockerd.js";
import type { TestNap } from "../support/nap.js";
import { startNap } from "../support/nap.js";
import { bindRootCases } from "./bind_roots.js";
import { droppedFieldCases } from "./dropped_fields.js";

const run = promisify(execFile);
const buf = join(import.meta.dirname, "..", "..", "node_modules", ".bin", "buf");

/** What these cases work with. */
export interface DockerBench {
  readonly dockerd: TestDockerd;
  readonly nap: TestNap;
  readonly bench: Bench;
}

/** Declares the cases. `open` gives their bench when the tests run. */
export function dockerCases(open: () => DockerBench): void {
  describe("errors", () => errorCases(open));
  describe("errors of every method", () => errorTable(open));
  describe("streams", () => streamCases(open));
  describe("transports", () => transportCases(open));
  describe("registries", () => registryCases(open));
  describe("server", () => serverCases(open));
  describe("access", () => accessCases(open));
  describe("hostile input", () => hostileCases(open));
  describe("operations", () => operationCases(open));
  describe("deployment", () => deploymentCases(open));
  describe("bind roots", () => bindRootCases(open));
  describe("faults", () => dockerFaultCases(open));
  describe("dropped fields", () => droppedFieldCases(open));
}

function errorCases(open: () => DockerBench): void {
  it("reports all violations of a request at once, each with its reason", async () => {
    const { nap, bench } = open();
    const error = await failure(
      nap.containers.createContainer({
        engine: "docker",
        name: "a b",
        spec: {
          image: bench.image,
          annotations: { a: "b" },
          lxcConfig: [{ key: "lxc.a" }],
          resources: { memoryLimit: { case: "memoryLimitBytes", value: -1n } },
        },
      }),
    );
    expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
    const found = error.badRequest?.fieldViolations.map(({ field, reason }) => [field, reason]);
    expect(found).to.deep.equal([
      ["name", "FIELD_INVALID"],
      ["spec.resources.memory_limit_bytes", "FIELD_INVALID"],
      ["spec.annotations", "FIELD_UNSUPPORTED_BY_ENGINE"],
      ["spec.lxc_config", "FIELD_UNSUPPORTED_BY_ENGINE"],
    ]);
  });

  it("tells of many violations in a status that every client can take", async () => {
    const { nap, bench } = open();
    const dnsServers = Array.from({ length: 3000 }, (_, n) => `not an address ${n}`);
    const spec = { image: bench.image, network: { dnsServers } };
    const error = await failure(nap.containers.createContainer({ engine: "docker", spec }));
    expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
    expect(error.badRequest?.fieldViolations).to.have.length(16);
    expect(error.badRequest?.fieldViolations.at(-1)?.description).to.include("2984 more");
    expect(error.message.length).to.be.below(1200);
  });

  it("refuses an unknown field number with its path", async () => {
    const { nap, bench } = open();
    const spec = create(ContainerSpecSchema, { image: bench.image });
    spec.$unknown = [{ no: 4000, wireType: 0, data: Uint8Array.of(1) }];
    const error = await failure(nap.containers.createContainer({ engine: "docker", spec }));
    expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_UNKNOWN" });
    expect(error.fields).to.deep.equal(["spec.4000"]);
  });

  it("refuses an engine that does not exist, naming those that do", async () => {
    const { nap } = open();
    const error = await failure(nap.containers.listContainers({ engine: "other" }));
    expect(error).to.include({ code: Code.NOT_FOUND, reason: "ENGINE_NOT_FOUND" });
    expect(error.message).to.include("docker");
  });

  it("answers UNIMPLEMENTED for a method that is not there, and declares it", async () => {
    const { nap } = open();
    const error = await failure(nap.volumes.listVolumes({ engine: "runc" }));
    expect(error).to.include({
      code: Code.UNIMPLEMENTED,
      reason: "METHOD_UNSUPPORTED_BY_ENGINE",
    });
    const thin = await nap.engines.getEngineCapabilities({ engine: "runc" });
    expect(thin.unsupportedMethods).to.include("nap.v1.VolumeService/ListVolumes");
    const said = await nap.engines.getEngineCapabilities({ engine: "docker" });
    expect(said.supportedMethods).to.include("nap.v1.ContainerService/CreateContainer");
    expect(said.supportedMethods.length + said.unsupportedMethods.length).to.equal(58);
    const fields = said.unsupportedFields.map(({ name }) => name);
    expect(fields).to.include("nap.v1.ContainerSpec.lxc_config");
  });

  it("refuses to lift a memory limit, which Docker cannot, and to change what it never changes", async () => {
    const { nap, bench } = open();
    const memoryLimit = { case: "memoryLimitBytes" as const, value: 33_554_432n };
    const { id: container } = await bench.start({ resources: { memoryLimit } });
    const memoryUnlimited = { case: "memoryUnlimited" as const, value: {} };
    for (const [resources, field] of [
      [{ memoryLimit: memoryUnlimited }, "resources.memory_unlimited"],
      [{ memorySwappiness: 10n }, "resources.memory_swappiness"],
      [{ oomKillDisabled: true }, "resources.oom_kill_disabled"],
    ] as const) {
      const request = { engine: "docker", container, resources };
      const error = await failure(nap.containers.updateContainer(request));
      expect(error).to.include({ reason: "FIELD_UNSUPPORTED_BY_ENGINE" });
      expect(error.fields).to.deep.equal([field]);
    }
    await bench.tidy();
  });

  it("refuses the host's network as an attachment, by its name and by its id", async () => {
    const { dockerd, nap, bench } = open();
    const docker = new Docker({ socketPath: dockerd.socket, host: undefined, port: undefined });
    const { Id } = (await docker.getNetwork("host").inspect()) as { Id: string };
    for (const network of ["host", Id, Id.slice(0, 12)]) {
      const mode = { case: "attachments" as const, value: { items: [{ network }] } };
      const spec = { image: bench.image, network: { mode } };
      const error = await failure(nap.containers.createContainer({ engine: "docker", spec }));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(error.fields).to.deep.equal(["spec.network.attachments.items[0].network"]);
    }
  });

  it("tells an ambiguous prefix from a container that is not there", async () => {
    const { bench } = open();
    const prefixes = new Set<string>();
    let shared: string | undefined;
    // Two of at most 17 ids have the same first digit.
    while (shared === undefined) {
      const [digit = ""] = (await bench.create({})).id;
      if (prefixes.has(digit)) shared = digit;
      prefixes.add(digit);
    }
    const error = await failure(bench.get(shared));
    expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "AMBIGUOUS_ID" });
    await bench.tidy();
  });

  for (const [claim, spec, field] of [
    [
      "a memory limit below the engine's minimum",
      { resources: { memoryLimit: { case: "memoryLimitBytes", value: 4096n } } },
      "spec.resources.memory_limit_bytes",
    ],
    [
      "swap without a memory limit",
      { resources: { swapLimit: { case: "swapLimitBytes", value: 1n } } },
      "spec.resources.swap_limit_bytes",
    ],
    [
      "a capability that does not exist",
      { security: { capabilitiesAdd: ["NO_SUCH"] } },
      "spec.security.capabilities_add",
    ],
    [
      "a processor that does not exist",
      { resources: { cpusetCpus: [4000] } },
      "spec.resources.cpuset_cpus",
    ],
    ["a signal that does not exist", { stopSignal: "SIGNONE" }, "spec.stop_signal"],
    [
      "a log option that does not exist",
      { logConfig: { driver: "json-file", options: { no: "1" } } },
      "spec.log_config",
    ],
    ["a runtime that does not exist", { runtime: "none" }, "spec.runtime"],
    [
      "auto_remove with a restart policy",
      { autoRemove: true, restartPolicy: { mode: RestartMode.ALWAYS } },
      "spec.auto_remove",
    ],
    [
      "part of a second where the engine counts whole ones",
      { stopTimeout: { seconds: 1n, nanos: 5 } },
      "spec.stop_timeout",
    ],
  ] as const) {
    it(`refuses ${claim} with the field's path`, async () => {
      const { nap, bench } = open();
      const command = { arguments: ["true"] };
      const request = {
        engine: "docker",
        spec: { image: bench.image, command, ...spec } as object,
      };
      const error = await failure(nap.containers.createContainer(request));
      expect(error.code).to.equal(Code.INVALID_ARGUMENT);
      expect(error.fields).to.deep.equal([field]);
    });
  }
}

function streamCases(open: () => DockerBench): void {
  it("closes the connection to dockerd within a second of the client's cancelling", async () => {
    const { dockerd, nap, bench } = open();
    const { id: container } = await bench.start({}, [
      "sh",
      "-c",
      "while :; do echo x; sleep 0.01; done",
    ]);
    const sockets = (): number => connectionsTo(dockerd, nap);
    const before = sockets();
    const clients = Array.from({ length: 20 }, () => new AbortController());
    const request = { engine: "docker", container, follow: true };
    const streams = clients.map(async ({ signal }) => {
      const stream = nap.containers.streamContainerLogs(request, { signal });
      for await (const message of stream) void message;
    });
    for (const stream of streams) stream.catch(() => undefined);
    await eventually(() => (sockets() >= 20 ? true : undefined));
    for (const client of clients) client.abort();
    await new Promise((resolve) => setTimeout(resolve, 900));
    expect(sockets()).to.be.at.most(before);
    await Promise.allSettled(streams);
    await bench.tidy();
  });

  it("ends a wait at the client's deadline", async () => {
    const { nap, bench } = open();
    const { id: container } = await bench.start({});
    const request = { engine: "docker", container };
    const error = await failure(all(nap.containers.waitContainer(request, { timeoutMillis: 300 })));
    expect(error.code).to.equal(Code.DEADLINE_EXCEEDED);
    await bench.tidy();
  });

  it("holds dockerd back when the client does not read, and the server's memory stays", async () => {
    const { nap, bench } = open();
    const spec = {
      image: bench.image,
      autoRemove: true,
      command: { arguments: ["yes", "0123456789"] },
    };
    const onDisconnect = DisconnectAction.KILL;
    const stream = nap.containers.runContainer({ engine: "docker", spec, onDisconnect });
    for (let n = 0; n < 3; n++) await stream.next();
    const before = memoryOf(nap.pid);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(memoryOf(nap.pid) - before).to.be.below(32 * 1024 * 1024);
    await stream.return(undefined);
  });
}

/**
 * As many connections dockerd has open on its socket. Linux lists its side of each, by the path, in
 * the network namespace of whoever connected.
 */
export function connectionsTo({ socket }: TestDockerd, { pid }: TestNap): number {
  const connected = " 0001 03 ";
  const lines = readFileSync(`/proc/${pid}/net/unix`, "utf8").split("\n");
  return lines.filter((line) => line.endsWith(` ${socket}`) && line.includes(connected)).length;
}

/** The resident bytes of a process. */
export function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

function transportCases(open: () => DockerBench): void {
  it("reaches a dockerd over TLS with a client certificate, and none without", async () => {
    const { dockerd } = open();
    const { ca, clientCert, clientKey } = dockerd.certificates;
    const url = `tcp://${dockerd.tlsAddress}`;
    const tls = { ca, cert: clientCert, key: clientKey };
    const directory = mkdtempSync(join(dockerd.directory, "tls-"));
    const engines = { open: { driver: "docker", url }, sure: { driver: "docker", url, tls } };
    const nap = await startNap(directory, { engines }, dockerd.initPid);
    try {
      const { images } = await nap.images.listImages({ engine: "sure" });
      expect(images).not.to.deep.equal([]);
      const spec = {
        image: "nap-test:1",
        command: { arguments: ["echo", "secure"] },
        autoRemove: true,
      };
      const seen = await all(nap.containers.runContainer({ engine: "sure", spec }));
      expect(seen.at(-1)?.event.case).to.equal("exit");
      const error = await failure(nap.images.listImages({ engine: "open" }));
      expect(error.code).to.be.oneOf([Code.UNAVAILABLE, Code.INVALID_ARGUMENT]);
      const required = await failure(nap.images.listImages({}));
      expect(required).to.include({ code: Code.INVALID_ARGUMENT, reason: "ENGINE_REQUIRED" });
    } finally {
      await nap.stop();
    }
  });

  it("serves two daemons in one server, one of them over TLS, and mixes nothing", async function () {
    this.timeout(60_000);
    const { dockerd, bench } = open();
    const other = await startDockerd();
    const { ca, clientCert: cert, clientKey: key } = dockerd.certificates;
    const directory = mkdtempSync(join(dockerd.directory, "two-"));
    const engines = {
      one: { driver: "docker", url: `tcp://${dockerd.tlsAddress}`, tls: { ca, cert, key } },
      two: { driver: "docker", url: `unix://${other.socket}` },
    };
    const nap = await startNap(directory, { engines }, dockerd.initPid);
    try {
      await nap.images.importImage(importMessages("two", { reference: "two:1" }, bench.rootfs));
      const name = bench.name("both");
      const command = { arguments: ["sleep", "60"] };
      for (const [engine, image] of [
        ["one", "nap-test:1"],
        ["two", "two:1"],
      ] as const) {
        await nap.containers.createContainer({ engine, name, spec: { image, command } });
      }
      const ids = [];
      for (const engine of ["one", "two"]) {
        const { containers } = await nap.containers.listContainers({
          engine,
          filter: { names: [name] },
        });
        expect(containers.map(({ engine: of }) => of)).to.deep.equal([engine]);
        ids.push(containers[0]?.id);
        await nap.containers.removeContainer({ engine, container: name });
      }
      expect(ids[0]).not.to.equal(ids[1]);
      const required = await failure(nap.containers.listContainers({}));
      expect(required).to.include({ code: Code.INVALID_ARGUMENT, reason: "ENGINE_REQUIRED" });
      expect(await healthOf(nap, "two")).to.equal("SERVING");
      await other.stop();
      const gone = await failure(nap.containers.listContainers({ engine: "two" }));
      expect(gone).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
      await eventually(async () => (await healthOf(nap, "two")) === "NOT_SERVING" || undefined);
      expect(await healthOf(nap, "one")).to.equal("SERVING");
      const { engines: listed } = await nap.engines.listEngines({});
      expect(listed.map(({ name: engine, state }) => [engine, state])).to.deep.equal([
        ["one", EngineState.HEALTHY],
        ["two", EngineState.UNREACHABLE],
      ]);
      expect(listed[1]?.errorMessage).to.include(other.socket);
    } finally {
      await nap.stop();
      await other.stop();
    }
  });

  it("starts with an engine that is down, says so, and finds it when it is there", async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "down-"));
    const late = join(directory, "late.sock");
    const engines = { late: { driver: "docker", url: `unix://${late}` } };
    const nap = await startNap(directory, { engines });
    let proxy: Awaited<ReturnType<typeof forward>> | undefined;
    try {
      const stateOf = async () => (await nap.engines.listEngines({})).engines[0]?.state;
      expect(await stateOf()).to.equal(EngineState.UNREACHABLE);
      expect(await healthOf(nap, "late")).to.equal("NOT_SERVING");
      const error = await failure(nap.images.listImages({}));
      expect(error).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
      proxy = await forward(dockerd.socket, late);
      expect((await nap.images.listImages({})).images).not.to.deep.equal([]);
      expect(await stateOf()).to.equal(EngineState.HEALTHY);
      await eventually(async () => (await healthOf(nap, "late")) === "SERVING" || undefined);
    } finally {
      await nap.stop();
      await proxy?.close();
    }
  });

  it("outlives a connection that breaks while a container is being run", async () => {
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "broken-"));
    const name = bench.name("broken");
    const command = { arguments: ["sleep", "60"] };
    for (const last of ["created", "started"]) {
      const proxy = await forward(dockerd.socket);
      const engines = { far: { driver: "docker", url: `tcp://127.0.0.1:${proxy.port}` } };
      const nap = await startNap(directory, { engines });
      try {
        const spec = { image: "nap-test:1", command };
        const run = nap.containers.runContainer({ name: `${name}-${last}`, spec });
        const reading = (async () => {
          for await (const { event } of run) if (event.case === last) await proxy.close();
        })();
        const error = await failure(reading);
        expect(error).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
        const { engines: listed } = await nap.engines.listEngines({});
        expect(listed[0]?.state).to.equal(EngineState.UNREACHABLE);
      } finally {
        expect(await nap.stop()).to.equal(0);
        bench.forget(`${name}-${last}`);
      }
    }
    await bench.tidy();
  });

  it("reaches a dockerd over TCP, says when it is away, and finds it again", async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "tcp-"));
    let proxy = await forward(dockerd.socket);
    const { port } = proxy;
    const engines = {
      far: { driver: "docker", url: `tcp://127.0.0.1:${port}` },
      near: { driver: "docker", url: `unix://${dockerd.socket}` },
    };
    const nap = await startNap(directory, { engines, default_engine: "near" });
    try {
      const states = async (): Promise<EngineState[]> =>
        (await nap.engines.listEngines({})).engines.map(({ state }) => state);
      expect((await nap.images.listImages({ engine: "far" })).images).not.to.deep.equal([]);
      expect(await states()).to.deep.equal([EngineState.HEALTHY, EngineState.HEALTHY]);
      await proxy.close();
      expect(await states()).to.deep.equal([EngineState.UNREACHABLE, EngineState.HEALTHY]);
      const error: RpcError = await failure(nap.images.listImages({ engine: "far" }));
      expect(error).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
      expect(error.retryAfterMillis).to.be.greaterThan(0);
      expect((await nap.images.listImages({})).images).not.to.deep.equal([]);
      proxy = await forward(dockerd.socket, port);
      expect((await nap.images.listImages({ engine: "far" })).images).not.to.deep.equal([]);
      expect(await states()).to.deep.equal([EngineState.HEALTHY, EngineState.HEALTHY]);
    } finally {
      await nap.stop();
      await proxy.close();
    }
  });
}

/** What grpc.health.v1 says of an engine. */
async function healthOf({ address }: TestNap, engine: string): Promise<string> {
  const data = JSON.stringify({ service: `engines/${engine}` });
  const args = ["--unix-socket", address.replace("unix:", ""), "--http2-prior-knowledge"];
  const url = "http://localhost/grpc.health.v1.Health/Check";
  const { stdout } = await run(buf, ["curl", ...args, "--protocol", "grpc", "-d", data, url]);
  return (JSON.parse(stdout) as { status: string }).status;
}

/** A TCP port, or another socket, that leads to a socket. */
async function forward(
  socket: string,
  at: number | string = 0,
): Promise<{ port: number; close: () => Promise<void> }> {
  const open = new Set<{ destroy(): void }>();
  const server: Server = createServer((inward) => {
    const outward = connect(socket);
    for (const [from, to] of [
      [inward, outward],
      [outward, inward],
    ] as const) {
      open.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => open.delete(from));
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => {
    if (typeof at === "string") server.listen(at, resolve);
    else server.listen(at, "127.0.0.1", resolve);
  });
  const { port = 0 } = server.address() as { port?: number };
  const close = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const connection of open) connection.destroy();
    await closed;
  };
  return { port, close };
}

function registryCases(open: () => DockerBench): void {
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
      spec: { image, command: { arguments: ["echo", "pulled"] }, autoRemove: true },
      registryCredentials,
    };
    await nap.images.removeImage({ engine: "docker", image, force: true }).catch(() => undefined);
    const never = await failure(all(nap.containers.runContainer(request)));
    expect(never).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
    const pullPolicy = PullPolicy.IF_MISSING;
    const first = await all(nap.containers.runContainer({ ...request, pullPolicy }));
    const kinds = first.map(({ event }) => event.case);
    expect(kinds[0]).to.equal("pullProgress");
    expect(kinds.slice(-4)).to.deep.equal(["created", "started", "output", "exit"]);
    const second = await all(nap.containers.runContainer({ ...request, pullPolicy }));
    expect(second.map(({ event }) => event.case)).not.to.include("pullProgress");
    const created = await nap.containers.createContainer({
      ...request,
      pullPolicy: PullPolicy.ALWAYS,
    });
    bench.forget(created.container?.id ?? "");
    expect(created.container?.spec?.image).to.equal(image);
    await bench.tidy();
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
    await bench.tidy();
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
    await bench.tidy();
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
    const right = { engine, image, registryCredentials: credentials("secret") };
    const seen = await all(nap.images.pullImage(right));
    expect(seen.at(-1)?.event.case).to.equal("result");
  });
}

function serverCases(open: () => DockerBench): void {
  it("lists every method by reflection to buf curl", async () => {
    const { nap } = open();
    const socket = nap.address.replace("unix:", "");
    const args = ["--unix-socket", socket, "--http2-prior-knowledge", "--protocol", "grpc"];
    const { stdout } = await run(buf, ["curl", "--list-methods", ...args, "http://localhost"]);
    const methods = stdout.trim().split("\n");
    expect(methods.filter((method) => method.startsWith("nap.v1."))).to.have.length(58);
    expect(methods).to.include("grpc.health.v1.Health/Check");
    expect(methods).to.include("grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    expect(methods).to.include("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
    const url = "http://localhost/nap.v1.EngineService/GetEngine";
    const called = await run(buf, ["curl", ...args, "-d", '{"engine": "docker"}', url]);
    expect(JSON.parse(called.stdout)).to.have.nested.property(
      "engine.state",
      "ENGINE_STATE_HEALTHY",
    );
  });

  it("tells the health of the server and of each engine", async () => {
    const { nap } = open();
    const socket = nap.address.replace("unix:", "");
    const args = ["--unix-socket", socket, "--http2-prior-knowledge", "--protocol", "grpc"];
    const url = "http://localhost/grpc.health.v1.Health/Check";
    for (const service of ["", "nap.v1.ContainerService", "engines/docker"]) {
      const data = JSON.stringify({ service });
      const { stdout } = await run(buf, ["curl", ...args, "-d", data, url]);
      expect(JSON.parse(stdout)).to.deep.equal({ status: "SERVING" });
    }
  });

  it("tells facts of the engine and its host", async () => {
    const { nap } = open();
    const { engine, host } = await nap.engines.getEngine({ engine: "docker" });
    expect(engine).to.include({ name: "docker", driver: "docker", isDefault: true });
    expect(host?.platform?.os).to.equal("linux");
    expect(host?.storageDriver).to.equal("overlay2");
    expect(Number(host?.memoryBytes)).to.be.greaterThan(1e8);
  });

  it("ends its streams at once when it is told to stop, and says so", async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "stop-"));
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    const nap = await startNap(directory, { engines: { docker } });
    const events = nap.engines.streamEvents({});
    await events.next();
    const ended = failure(events.next());
    const before = Date.now();
    const stopped = nap.stop();
    expect(await ended).to.include({ code: Code.UNAVAILABLE, reason: "SERVER_STOPPING" });
    expect(await stopped).to.equal(0);
    expect(Date.now() - before).to.be.below(3000);
  });

  it("lets nobody but its owner and group reach its socket", () => {
    const { nap } = open();
    expect(statSync(nap.address.replace("unix:", "")).mode & 0o777).to.equal(0o660);
  });

  it("replaces a dead socket, and leaves one that answers alone", async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "dead-"));
    const config = { engines: {} };
    const first = await startNap(directory, config);
    process.kill(first.pid, "SIGKILL");
    await first.stop();
    const second = await startNap(directory, config);
    const third = startNap(directory, config);
    const error = await third.then(
      () => undefined,
      (reason: Error) => reason,
    );
    expect(error?.message).to.include("another server listens");
    expect(await second.stop()).to.equal(0);
  });
}

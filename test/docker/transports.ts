/** Daemons over TCP and TLS, several at once, and daemons that are away. */
import { execFile } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Server } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { EngineState } from "../../gen/nap/v1/engine_service_pb.js";
import { eventually } from "../conformance/bench.js";
import type { RpcError } from "../support/client.js";
import { all, failure, resultOf } from "../support/client.js";
import { importMessages } from "../conformance/cases/images.js";
import { startDockerd } from "../support/engines/dockerd.js";
import type { TestNap } from "../support/engines/nap.js";
import { startNap } from "../support/engines/nap.js";
import type { DockerBench } from "./cases.js";
import { imageSource } from "../support/requests/source.js";

const run = promisify(execFile);
const buf = join(import.meta.dirname, "..", "..", "node_modules", ".bin", "buf");

/** Declares the cases of the ways to a daemon. */
export function transportCases(open: () => DockerBench): void {
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
        source: imageSource("nap-test:1"),
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
      await resultOf(
        nap.images.importImage(importMessages("two", { reference: "two:1" }, bench.rootfs)),
      );
      const name = bench.name("both");
      const command = { arguments: ["sleep", "60"] };
      for (const [engine, image] of [
        ["one", "nap-test:1"],
        ["two", "two:1"],
      ] as const) {
        await nap.containers.createContainer({
          engine,
          name,
          spec: { source: imageSource(image), command },
        });
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
        const spec = { source: imageSource("nap-test:1"), command };
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
export async function forward(
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

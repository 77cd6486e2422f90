/** The server itself: reflection, health, facts of its engine, sockets, and its end. */
import { execFile } from "node:child_process";
import { mkdtempSync, statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { failure } from "../support/client.js";
import { startNap } from "../support/engines/nap.js";
import type { DockerBench } from "../docker/cases.js";

const run = promisify(execFile);
const buf = join(import.meta.dirname, "..", "..", "node_modules", ".bin", "buf");

/** Declares the cases of the server. */
export function serverCases(open: () => DockerBench): void {
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
    expect(engine).to.include({ name: "docker", kind: "docker", isDefault: true });
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
    expect(await ended).to.include({ code: Code.UNAVAILABLE, reason: "SERVER_SHUTTING_DOWN" });
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

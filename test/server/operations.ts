/** What an operator sees: the log of calls, metrics, the draining end, the check of a configuration. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import {
  Health,
  HealthCheckResponse_ServingStatus as Serving,
} from "../../gen/health/v1/health_pb.js";
import { eventually } from "../conformance/bench.js";
import { all, clientOf, failure, openChannel } from "../support/client.js";
import { clientsOf, program, startNap } from "../support/engines/nap.js";
import type { DockerBench } from "../docker/cases.js";
import { imageSource } from "../support/requests/source.js";

const run = promisify(execFile);

/** Declares the cases. `open` gives their bench when the tests run. */
export function operationCases(open: () => DockerBench): void {
  it("logs one line for each call, and never what a client said", async () => {
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "log-"));
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    const nap = await startNap(directory, { engines: { docker } });
    const secret = "a-secret-value";
    const command = { arguments: ["true", secret] };
    const environment = { PASSWORD: secret };
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const spec = { source: imageSource(bench.image), command, environment, autoRemove: true };
    await all(nap.containers.runContainer({ spec }, { headers: { traceparent } }));
    const wrong = { spec: { ...spec, workingDir: secret, user: `${secret}\0` } };
    await failure(nap.containers.createContainer(wrong));
    await failure(nap.containers.getContainer({ container: secret }));
    const login = { username: "nap", password: secret };
    const registryCredentials = { kind: { case: "login" as const, value: login } };
    const pull = { image: "127.0.0.1:9/nap/none:1", registryCredentials };
    await failure(all(nap.images.pullImage(pull)));
    const cancelled = nap.engines.streamEvents({});
    await cancelled.next();
    await cancelled.return(undefined);
    await eventually(
      () => nap.output().some((line) => line.includes("CALL_CANCELLED")) || undefined,
    );
    expect(await nap.stop()).to.equal(0);
    const lines = nap
      .output()
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const [ran, refused, missing, pulled, left] = lines;
    expect(ran).to.include({
      msg: "call",
      method: "nap.v1.ContainerService/RunContainer",
      identity: "local",
      engine: "docker",
      code: "OK",
      reason: "",
      traceId: "0af7651916cd43dd8448eb211c80319c",
    });
    expect(ran?.["durationMillis"]).to.be.greaterThan(0);
    expect(refused).to.deep.include({ code: "INVALID_ARGUMENT", reason: "FIELD_INVALID" });
    expect(refused?.["fields"]).to.deep.equal(["spec.working_dir", "spec.user"]);
    expect(missing).to.include({ code: "NOT_FOUND", reason: "CONTAINER_NOT_FOUND" });
    expect(pulled).to.include({ reason: "REGISTRY_UNREACHABLE" });
    expect(left).to.include({ code: "CANCELLED", reason: "CALL_CANCELLED" });
    expect(missing?.["traceId"]).to.match(/^[0-9a-f]{32}$/);
    expect(nap.output().join("\n")).not.to.include(secret);
  });

  it("shows calls, open streams and engines to Prometheus", async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "metrics-"));
    const nap = await startNap(directory, {
      engines: {
        docker: { driver: "docker", url: `unix://${dockerd.socket}` },
        away: { driver: "docker", url: `unix://${directory}/none.sock` },
      },
      metrics: { listen: "127.0.0.1:0" },
    });
    const url = /metrics at (\S+)/.exec(nap.output().join("\n"))?.[1] ?? "";
    const read = async (): Promise<string> => (await fetch(url)).text();
    const client = new AbortController();
    const { signal } = client;
    const events = nap.engines.streamEvents({ engine: "docker" }, { signal });
    await events.next();
    await nap.containers.listContainers({ engine: "docker" });
    await failure(nap.containers.getContainer({ engine: "docker", container: "none" }));
    const text = await eventually(async () => {
      const found = await read();
      return found.includes("nap_engine_up") ? found : undefined;
    });
    const open1 = 'nap_calls_open{method="nap.v1.EngineService/StreamEvents"} 1';
    const missing =
      'nap_calls_total{method="nap.v1.ContainerService/GetContainer",engine="docker",' +
      'code="NOT_FOUND",reason="CONTAINER_NOT_FOUND"} 1';
    const timed =
      'nap_call_duration_seconds_count{method="nap.v1.ContainerService/ListContainers"} 1';
    for (const line of [open1, missing, timed]) expect(text).to.include(`${line}\n`);
    expect(text).to.include('nap_engine_up{engine="docker"} 1');
    expect(text).to.include('nap_engine_up{engine="away"} 0');
    client.abort();
    await failure(all(events));
    await eventually(async () => ((await read()).includes(open1) ? undefined : true));
    expect((await fetch(url.replace("/metrics", "/"))).status).to.equal(404);
    expect(await nap.stop()).to.equal(0);
  });

  it("ends health first, lets unary calls finish, and gives streams their cursor", async () => {
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "drain-"));
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    const nap = await startNap(directory, { engines: { docker }, drain_seconds: 20 });
    const channel = openChannel(nap.address);
    const { engines, containers } = clientsOf(channel);
    const health = clientOf(channel, Health).watch({ service: "" });
    expect((await health.next()).value?.status).to.equal(Serving.SERVING);
    const events = engines.streamEvents({});
    const first = await events.next();
    // A shell that ignores the signal is killed when the grace of its stop is over.
    const { id: container } = await bench.start({}, ["sh", "-c", "trap '' TERM; sleep 60"]);
    await events.next();
    const stopping = containers.stopContainer({ container, timeout: { seconds: 2n } });
    await eventually(async () => {
      const { processes } = await containers.listContainerProcesses({ container });
      return processes.length > 0;
    });
    const ended = failure(all(events));
    const serving: (Serving | undefined)[] = [];
    const watched = (async () => {
      for await (const { status } of health) serving.push(status);
    })().catch(() => undefined);
    const stopped = nap.stop();
    const error = await ended;
    expect(error).to.include({ code: Code.UNAVAILABLE, reason: "SERVER_SHUTTING_DOWN" });
    expect(error.retryAfterMillis).to.be.greaterThan(0);
    if (first.value?.cursor !== "") expect(error.cursor).to.be.a("string");
    expect(await stopping).to.include({ changed: true });
    expect(await stopped).to.equal(0);
    await watched;
    expect(serving[0]).to.equal(Serving.NOT_SERVING);
    channel.close();
  });

  it("checks a configuration and tries its engines, without serving", async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "check-"));
    const file = join(directory, "nap.yaml");
    const check = () => run(process.execPath, [program, "check", "--config", file]);
    writeFileSync(file, `engines: {docker: {driver: docker, url: "unix://${dockerd.socket}"}}`);
    expect((await check()).stdout).to.match(/engine "docker" \(docker\): answers, version \d/);
    writeFileSync(file, `engines: {docker: {driver: docker, url: "unix://${directory}/none"}}`);
    const away = await check().catch((error: { stdout: string; code: number }) => error);
    expect(away).to.include({ code: 1 });
    expect(away.stdout).to.include("does not answer");
    writeFileSync(file, "engines: {docker: {driver: docker}}");
    const wrong = await check().catch((error: { stderr: string; code: number }) => error);
    expect(wrong.stderr).to.include("engines.docker.url");
  });

  it("does not stop serving while nobody reads its log", async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "unread-"));
    const file = join(directory, "nap.yaml");
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    writeFileSync(file, JSON.stringify({ engines: { docker } }));
    const socket = join(directory, "nap.sock");
    const listen = ["--config", file, "--listen", `unix://${socket}`];
    const nap = spawn(process.execPath, [program, "serve", ...listen], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = createInterface({ input: nap.stdout });
    for await (const line of lines) if (line.startsWith("nap: try")) break;
    nap.stdout.pause();
    const channel = openChannel(`unix:${socket}`);
    const { engines } = clientsOf(channel);
    // A pipe takes 64 KiB; each call writes more than 200 bytes.
    for (let n = 0; n < 30; n++) {
      await Promise.all(Array.from({ length: 20 }, () => engines.getEngineCapabilities({})));
    }
    channel.close();
    const exited = once(nap, "exit");
    nap.stdout.resume();
    nap.kill("SIGTERM");
    expect(await exited).to.deep.equal([0, null]);
  });
}

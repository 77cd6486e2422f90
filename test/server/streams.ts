/** Streams of Docker: cancelled ones end, and unread ones hold the engine back. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { DisconnectAction } from "../../gen/nap/v1/types_pb.js";
import { ended, eventually } from "../conformance/bench.js";
import { counting } from "../conformance/cases/run-once.js";
import type { RpcError } from "../support/client.js";
import { all, failure } from "../support/client.js";
import type { DockerBench } from "../docker/cases.js";
import { connectionsTo } from "../support/connections.js";
import { imageSource } from "../support/requests/source.js";

/** Declares the cases of streams. */
export function streamCases(open: () => DockerBench): void {
  it("closes the connections to dockerd when the client cancels", async () => {
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
    await eventually(() => (sockets() <= before ? true : undefined));
    await Promise.allSettled(streams);
  });

  it("runs once for concurrent calls with one request_id whose log cannot be read", async () => {
    const { nap, bench } = open();
    const name = bench.name("unlogged");
    const { mounts, script } = counting(bench, name, "");
    const command = { arguments: ["sh", "-c", script] };
    const spec = {
      source: imageSource(bench.image),
      command,
      mounts,
      logConfig: { driver: "none" },
    };
    const request = { engine: "docker", name, spec, requestId: name };
    bench.forget(name);
    const calls = Array.from({ length: 5 }, async () => all(nap.containers.runContainer(request)));
    const outcomes = await Promise.allSettled(calls);
    const runs = readFileSync(join(bench.hostDirectory, name), "utf8");
    expect(runs).to.match(/^run [0-9a-f-]{36}\n$/);
    const answered = outcomes.filter(({ status }) => status === "fulfilled");
    expect(answered.length).to.equal(1);
    for (const outcome of outcomes) {
      if (outcome.status === "fulfilled") expect(ended(outcome.value).stdout).to.equal(runs);
      else expect((outcome.reason as RpcError).reason).to.equal("LOG_DRIVER_NOT_READABLE");
    }
  });

  it("ends a wait at the client's deadline", async () => {
    const { nap, bench } = open();
    const { id: container } = await bench.start({});
    const request = { engine: "docker", container };
    const error = await failure(all(nap.containers.waitContainer(request, { timeoutMillis: 300 })));
    expect(error.code).to.equal(Code.DEADLINE_EXCEEDED);
  });

  it("holds dockerd back when the client does not read, and the server's memory stays", async () => {
    const { nap, bench } = open();
    const spec = {
      source: imageSource(bench.image),
      autoRemove: true,
      command: { arguments: ["yes", "0123456789"] },
    };
    const disconnectAction = DisconnectAction.KILL;
    const stream = nap.containers.runContainer({ engine: "docker", spec, disconnectAction });
    for (let n = 0; n < 3; n++) await stream.next();
    const before = memoryOf(nap.pid);
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(memoryOf(nap.pid) - before).to.be.below(96 * 1024 * 1024);
    await stream.return(undefined);
  });
}

/** The resident bytes of a process. */
export function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** A dockerd that is frozen and thawed, killed and started again, beside one that is well. */
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import {
  Health,
  HealthCheckResponse_ServingStatus as Serving,
} from "../../gen/health/v1/health_pb.js";
import { eventually } from "../conformance/bench.js";
import { clientOf, failure, openChannel } from "../support/client.js";
import { startDockerd } from "../support/engines/dockerd.js";
import { clientsOf, startNap } from "../support/engines/nap.js";
import type { DockerBench } from "./cases.js";

/** Declares the cases. `open` gives their bench when the tests run. */
export function freezeCases(open: () => DockerBench): void {
  it("fails calls on a frozen and on a killed dockerd, tells its health alone, and finds it again", async function () {
    this.timeout(180_000);
    const { dockerd } = open();
    const other = await startDockerd();
    const directory = mkdtempSync(join(dockerd.directory, "freeze-"));
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    const far = { driver: "docker", url: `unix://${other.socket}`, timeout_seconds: 1 };
    const nap = await startNap(directory, { engines: { docker, far } });
    const channel = openChannel(nap.address);
    const told = new Map<string, Serving[]>();
    const client = new AbortController();
    const watching = ["docker", "far"].map(async (engine) => {
      const seen: Serving[] = [];
      told.set(engine, seen);
      const { signal } = client;
      const stream = clientOf(channel, Health).watch({ service: `engines/${engine}` }, { signal });
      for await (const { status } of stream) seen.push(status);
    });
    for (const watch of watching) watch.catch(() => undefined);
    const last = (engine: string) => told.get(engine)?.at(-1);
    const until = (status: Serving) =>
      eventually(() => (last("far") === status ? true : undefined));
    const { containers } = clientsOf(channel);
    try {
      await until(Serving.SERVING);
      const files = nap.openFiles().length;
      const pid = Number(readFileSync(join(other.directory, "dockerd.pid"), "utf8"));
      const outside = processOutside(other.initPid, pid);
      process.kill(outside, "SIGSTOP");
      const frozen = await failure(containers.listContainers({ engine: "far" }));
      expect(frozen).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
      expect(frozen.retryAfterMillis).to.be.greaterThan(0);
      await containers.listContainers({ engine: "docker" });
      await until(Serving.NOT_SERVING);
      process.kill(outside, "SIGCONT");
      await until(Serving.SERVING);
      await containers.listContainers({ engine: "far" });
      await other.kill();
      const killed = await failure(containers.listContainers({ engine: "far" }));
      expect(killed).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
      await until(Serving.NOT_SERVING);
      await other.again();
      await until(Serving.SERVING);
      await containers.listContainers({ engine: "far" });
      expect(told.get("docker")).to.include(Serving.SERVING).and.not.include(Serving.NOT_SERVING);
      // Connections that are kept for a while, and one for events.
      await eventually(() => (nap.openFiles().length <= files + 4 ? true : undefined));
    } finally {
      client.abort();
      await Promise.allSettled(watching);
      channel.close();
      await nap.stop();
      await other.stop();
    }
  });
}

/** The process that has a number in the namespaces of another one, as it is numbered here. */
function processOutside(init: number, pid: number): number {
  const children = (of: number): number[] =>
    readFileSync(`/proc/${of}/task/${of}/children`, "utf8")
      .trim()
      .split(" ")
      .filter(Boolean)
      .map(Number);
  const all = [init];
  for (const each of all) all.push(...children(each));
  const found = all.find((each) => {
    const numbers = /^NSpid:\s+(.+)$/m.exec(readFileSync(`/proc/${each}/status`, "utf8"))?.[1];
    return Number(numbers?.trim().split(/\s+/).at(-1)) === pid;
  });
  if (found === undefined) throw new Error(`there is no process ${pid} in the namespaces`);
  return found;
}

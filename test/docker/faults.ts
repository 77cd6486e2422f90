/** What calls say while dockerd misbehaves, and that nothing else does. */
import { mkdtempSync } from "node:fs";
import { once } from "node:events";
import type { Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import Docker from "dockerode";
import { eventually } from "../conformance/bench.js";
import { importMessages } from "../conformance/images.js";
import { all, failure } from "../support/client.js";
import type { TestNap } from "../support/nap.js";
import { startNap } from "../support/nap.js";
import type { DockerBench } from "./cases.js";

const engine = "far";

/** What becomes of what dockerd says, on its way to nap. */
type Fault = "none" | "silent" | "cut headers" | "cut body" | "closed";

/** A socket in front of dockerd's, on which faults can be had. */
class FaultySocket {
  fault: Fault = "none";
  readonly #open = new Set<Socket>();
  readonly #server: Server;

  constructor(
    readonly path: string,
    target: string,
  ) {
    this.#server = createServer((inward) => {
      const outward = connect(target);
      for (const socket of [inward, outward]) {
        this.#open.add(socket);
        socket.on("error", () => undefined);
        socket.on("close", () => {
          this.#open.delete(socket);
          inward.destroy();
          outward.destroy();
        });
      }
      inward.on("data", (data) => this.fault !== "closed" && outward.write(data));
      outward.on("data", (data) => this.#answer(inward, data));
      if (this.fault === "closed") inward.destroy();
    });
  }

  async up(): Promise<void> {
    this.#server.listen(this.path);
    await once(this.#server, "listening");
  }

  /** Ends all connections, as a dockerd that is killed does. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }

  async down(): Promise<void> {
    this.#server.close();
    this.cut();
    await once(this.#server, "close");
  }

  #answer(inward: Socket, data: Buffer): void {
    if (this.fault === "silent") return;
    if (this.fault === "none") return void inward.write(data);
    const body = data.indexOf("\r\n\r\n") + 4;
    inward.end(data.subarray(0, this.fault === "cut headers" ? 20 : body + 5));
  }
}

/** A call of each kind on a container that runs. */
const calls: Readonly<
  Record<string, (nap: TestNap, container: string, archive: Buffer) => Promise<unknown>>
> = {
  "a look": (nap, container) => nap.containers.getContainer({ engine, container }),
  "a list": (nap) => nap.containers.listContainers({ engine }),
  "a change": (nap, container) =>
    nap.containers.killContainer({ engine, container, signal: "CONT" }),
  "a creation": (nap) =>
    nap.containers.createContainer({ engine, spec: { image: "nap-test:1" }, requestId: "lost" }),
  "a run": (nap) =>
    all(nap.containers.runContainer({ engine, spec: { image: "nap-test:1" }, requestId: "run" })),
  logs: (nap, container) =>
    all(nap.containers.streamContainerLogs({ engine, container, follow: true })),
  "a command": (nap, container) =>
    nap.containers.execContainerSync({ engine, container, exec: { command: ["true"] } }),
  "a pull": (nap) => all(nap.images.pullImage({ engine, image: "nap-test:1" })),
  "an import": (nap, _container, archive) =>
    nap.images.importImage(importMessages(engine, { reference: "nap-fault:1" }, archive)),
  "a read of an archive": (nap, container) =>
    all(nap.containers.readContainerArchive({ engine, container, path: "/bin" })),
  "a disk usage": (nap) => nap.engines.getDiskUsage({ engine }),
};

/** Declares the cases. `open` gives their bench when the tests run. */
export function dockerFaultCases(open: () => DockerBench): void {
  let nap: TestNap;
  let socket: FaultySocket;
  let container: string;
  let docker: Docker;

  before(async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "faults-"));
    docker = new Docker({ socketPath: dockerd.socket });
    const made = await docker.createContainer({
      Image: "nap-test:1",
      Cmd: ["sleep", "600"],
      StopSignal: "KILL",
    });
    await made.start();
    container = made.id;
    socket = new FaultySocket(join(directory, "far.sock"), dockerd.socket);
    await socket.up();
    const far = { driver: "docker", url: `unix://${socket.path}`, timeout_seconds: 2 };
    const near = { driver: "docker", url: `unix://${dockerd.socket}` };
    nap = await startNap(directory, { engines: { far, near } });
  });

  after(async () => {
    expect(await nap.stop()).to.equal(0);
    await socket.down();
    await docker.getContainer(container).remove({ force: true });
  });

  for (const fault of ["silent", "closed", "cut headers", "cut body"] as const) {
    it(`ends every kind of call with a time to retry where dockerd's answers are ${fault}`, async function () {
      this.timeout(90_000);
      const { bench } = open();
      socket.fault = "none";
      await eventually(() => nap.containers.listContainers({ engine }).catch(() => undefined));
      socket.fault = fault;
      try {
        const outcomes = Object.entries(calls).map(async ([what, call]) => {
          // Its answer has no body that could be cut.
          if (fault === "cut body" && what === "a change") return;
          const error = await failure(call(nap, container, bench.rootfs));
          expect(error, what).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
          expect(error.retryAfterMillis, what).to.be.greaterThan(0);
          expect(error.info?.metadata["engine"], what).to.equal(engine);
        });
        await Promise.all(outcomes);
        await nap.containers.listContainers({ engine: "near" });
      } finally {
        socket.fault = "none";
      }
      await eventually(() => nap.containers.listContainers({ engine }).catch(() => undefined));
    });
  }

  it("ends logs that are followed once dockerd falls silent", async function () {
    this.timeout(60_000);
    const logs = nap.containers.streamContainerLogs({ engine, container, follow: true });
    const ended = failure(all(logs));
    await new Promise((resolve) => setTimeout(resolve, 300));
    socket.fault = "silent";
    expect(await ended).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
    socket.fault = "none";
    await eventually(() => nap.containers.listContainers({ engine }).catch(() => undefined));
  });

  it("makes one object of a kind where a creation is repeated after nap was killed", async function () {
    this.timeout(60_000);
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "again-"));
    const url = `unix://${dockerd.socket}`;
    const config = { engines: { [engine]: { driver: "docker", url } } };
    const requestId = bench.name("request");
    const request = {
      engine,
      spec: { image: "nap-test:1", command: { arguments: ["true"] } },
      requestId,
    };
    const volume = { engine, name: requestId, requestId, spec: {} };
    const network = { engine, name: requestId, requestId, spec: {} };
    const ids: (string | undefined)[][] = [];
    for (let n = 0; n < 2; n++) {
      const one = await startNap(directory, config);
      const made = await one.containers.createContainer(request);
      const madeVolume = await one.volumes.createVolume(volume);
      const madeNetwork = await one.networks.createNetwork(network);
      ids.push([made.container?.id, madeVolume.volume?.name, madeNetwork.network?.id]);
      await one.kill();
    }
    expect(ids[1]).to.deep.equal(ids[0]);
    await docker.getContainer(ids[0]![0]!).remove();
    await docker.getVolume(requestId).remove();
    await docker.getNetwork(requestId).remove();
  });
}

/** What calls say while dockerd misbehaves, and that nothing else does. */
import { randomUUID } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { once } from "node:events";
import type { Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import Docker from "dockerode";
import { eventually } from "../conformance/bench.js";
import { runsOnceWhereNapIsKilled } from "../conformance/cases/killed.js";
import { importMessages } from "../conformance/cases/images.js";
import { all, failure, resultOf } from "../support/client.js";
import type { TestNap } from "../support/engines/nap.js";
import { startNap } from "../support/engines/nap.js";
import type { DockerBench } from "./cases.js";
import { imageSource } from "../support/requests/source.js";

const engine = "far";

/** What becomes of what dockerd says, on its way to nap. */
type Fault = "none" | "silent" | "cut headers" | "cut body" | "closed" | "delayed";

/** As much later do delayed answers come, in milliseconds. */
const delayMillis = 150;

/** A socket in front of dockerd's, on which faults can be had. */
class FaultySocket {
  fault: Fault = "none";
  /** The request with which a fault begins, and the fault. */
  trigger: { readonly request: RegExp; readonly fault: Fault } | undefined;
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
          const end = (): void => void [inward.destroy(), outward.destroy()];
          if (this.fault === "delayed") setTimeout(end, 2 * delayMillis);
          else end();
        });
      }
      inward.on("data", (data) => {
        if (this.trigger?.request.test(data.toString("latin1"))) this.fault = this.trigger.fault;
        if (this.fault === "closed") inward.destroy();
        else outward.write(data);
      });
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
    if (this.fault === "delayed") {
      return void setTimeout(() => inward.writable && inward.write(data), delayMillis);
    }
    const body = data.indexOf("\r\n\r\n") + 4;
    inward.end(data.subarray(0, this.fault === "cut headers" ? 20 : body + 5));
  }
}

const spec = { source: imageSource("nap-test:1"), command: { arguments: ["true"] } };

const newRequestId = (): string => `fault-${randomUUID()}`;

/** The request that is each call's own, behind what it looks at first. */
const ownRequests: Readonly<Record<string, RegExp>> = {
  "a look": /GET \S+\/containers\/\w+\/json/,
  "a list": /GET \S+\/containers\/json/,
  "a change": /POST \S+\/kill/,
  "a creation": /POST \S+\/containers\/create/,
  "a run": /POST \S+\/start/,
  logs: /GET \S+\/logs/,
  "a command": /POST \S+\/exec\/\w+\/start/,
  "a pull": /POST \S+\/images\/create/,
  "an import": /POST \S+\/images\/create/,
  "a read of an archive": /GET \S+\/archive/,
  "a disk usage": /GET \S+\/system\/df/,
};

/** A call of each kind on a container that runs. */
const calls: Readonly<
  Record<string, (nap: TestNap, container: string, archive: Buffer) => Promise<unknown>>
> = {
  "a look": (nap, container) => nap.containers.getContainer({ engine, container }),
  "a list": (nap) => nap.containers.listContainers({ engine }),
  "a change": (nap, container) =>
    nap.containers.killContainer({ engine, container, signal: "CONT" }),
  "a creation": (nap) =>
    nap.containers.createContainer({ engine, spec, requestId: newRequestId() }),
  "a run": (nap) => all(nap.containers.runContainer({ engine, spec, requestId: newRequestId() })),
  logs: (nap, container) =>
    all(nap.containers.streamContainerLogs({ engine, container, follow: true })),
  "a command": (nap, container) =>
    nap.containers.execContainerSync({ engine, container, exec: { command: ["true"] } }),
  "a pull": (nap) => all(nap.images.pullImage({ engine, image: "nap-test:1" })),
  "an import": (nap, _container, archive) =>
    resultOf(nap.images.importImage(importMessages(engine, { reference: "nap-fault:1" }, archive))),
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

  for (const fault of ["silent", "closed", "cut headers"] as const) {
    it(`ends every kind of call in its middle where dockerd's answer to it is ${fault}`, async function () {
      this.timeout(180_000);
      const { bench } = open();
      for (const [what, call] of Object.entries(calls)) {
        await eventually(() => nap.containers.listContainers({ engine }).catch(() => undefined));
        socket.trigger = { request: ownRequests[what]!, fault };
        try {
          const error = await failure(call(nap, container, bench.rootfs)).catch((why: unknown) => {
            throw new Error(what, { cause: why });
          });
          expect(socket.fault, what).to.equal(fault);
          expect(error, what).to.include({ code: Code.UNAVAILABLE, reason: "ENGINE_UNREACHABLE" });
          expect(error.retryAfterMillis, what).to.be.greaterThan(0);
        } finally {
          socket.trigger = undefined;
          socket.fault = "none";
          socket.cut();
        }
      }
      await nap.containers.listContainers({ engine: "near" });
      const filters = { label: ["nap.v1.request-id"] };
      for (const { Id, Labels } of await docker.listContainers({ all: true, filters })) {
        const isOurs = Labels["nap.v1.request-id"]?.startsWith("fault-");
        if (isOurs) await docker.getContainer(Id).remove({ force: true });
      }
    });
  }

  it("takes answers that are delayed", async () => {
    await eventually(() => nap.containers.listContainers({ engine }).catch(() => undefined));
    socket.fault = "delayed";
    try {
      for (const what of ["a look", "a list", "a change", "a command", "a disk usage"]) {
        await calls[what]!(nap, container, Buffer.alloc(0));
      }
    } finally {
      socket.fault = "none";
    }
  });

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
      spec: { source: imageSource("nap-test:1"), command: { arguments: ["true"] } },
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

  it("runs once for one request_id, whenever nap is killed between the calls", async function () {
    this.timeout(120_000);
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "once-"));
    const url = `unix://${dockerd.socket}`;
    const config = { engines: { [bench.engine]: { driver: "docker", url } } };
    await runsOnceWhereNapIsKilled(() => startNap(directory, config), bench);
  });
}

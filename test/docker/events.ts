/** What becomes of events, watches and waits when dockerd, its socket, nap or a client fails. */
import { setMaxListeners } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import Docker from "dockerode";
import { ContainerState, WaitCondition } from "../../gen/nap/v1/container_service_pb.js";
import type { Event, StreamEventsResponse } from "../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../gen/nap/v1/engine_service_pb.js";
import type { Bench } from "../conformance/bench.js";
import { eventually } from "../conformance/bench.js";
import { importMessages } from "../conformance/cases/images.js";
import { all, failure, resultOf } from "../support/client.js";
import type { TestDockerd } from "../support/engines/dockerd.js";
import { startDockerd } from "../support/engines/dockerd.js";
import { Forward } from "../support/engines/forward.js";
import type { TestNap } from "../support/engines/nap.js";
import { startNap } from "../support/engines/nap.js";
import { listAll, Watcher } from "../support/watcher.js";
import { eventsIn } from "../support/batches.js";
import { compareTimes } from "../../src/core/lists/filters.js";

const image = "nap-test:1";
const engine = "far";

/** Declares the cases. `open` gives their bench when the tests run. */
export function dockerEventCases(
  open: () => { readonly dockerd: TestDockerd; readonly bench: Bench },
): void {
  it("tells every container's final state after 1,000 changes while the engine's socket was unreachable", async function () {
    this.timeout(120_000);
    const { dockerd, bench } = open();
    const docker = new Docker({ socketPath: dockerd.socket });
    const mark = bench.name("mark");
    const filter = { labels: [{ key: "mark", value: mark }] };
    const make = (name: string, Cmd = ["sleep", "600"]) =>
      docker.createContainer({ Image: image, name, Cmd, Labels: { mark }, StopSignal: "KILL" });
    await withFar(dockerd, async (nap, forward) => {
      const made = await Promise.all(
        Array.from({ length: 16 }, (_, n) => make(`${mark}-${n}`, ["sh", "-c", "sleep 600"])),
      );
      for (const n of [0, 1, 2, 3, 4]) await made[n]!.start();
      const told = new Told(nap, filter);
      const watcher = new Watcher(nap, { engine, filter });
      await eventually(() => (told.ready && watcher.synced) || undefined);
      for (const container of made) told.add(container.id, await container.inspect());
      const next = nap.containers.waitContainer({
        engine,
        container: made[0]!.id,
        condition: WaitCondition.NEXT_EXIT,
      });
      await next.next();
      const unseen = nap.containers.waitContainer({
        engine,
        container: made[3]!.id,
        condition: WaitCondition.REMOVED,
      });
      await unseen.next();

      await forward.down();
      await made[0]!.kill();
      await made[1]!.restart({ t: 0 });
      await made[2]!.pause();
      await made[3]!.remove({ force: true });
      await made[5]!.start();
      await made[6]!.start();
      await made[6]!.kill();
      await made[7]!.remove();
      const busy = made.slice(8).map(async (container, which) => {
        // A hundred and thirty names one after the other for each of eight containers.
        for (let n = 0; n < 130; n++) await container.rename({ name: `${mark}-${which}-${n}` });
        const passing = await make(`${mark}-passing-${which}`);
        if (which % 2 === 0) await passing.remove();
      });
      await Promise.all(busy);
      await forward.up();

      const listed = await docker.listContainers({
        all: true,
        filters: { label: [`mark=${mark}`] },
      });
      const want = new Map(listed.map(({ Id, State, Names }) => [Id, `${Names[0]} ${State}`]));
      await eventually(() => told.equals(want) || undefined);
      await eventually(async () => {
        const list = await listAll(nap, { engine, filter });
        return equal(watcher.containers, list) || undefined;
      });
      expect(told.synthetic).to.be.greaterThan(0);
      const { value: exited } = await next.next();
      expect(exited?.event).to.deep.include({ case: "exited" });
      expect(exited?.event.value).to.include({ code: 137 });
      const lost = await failure(unseen.next());
      expect(lost).to.include({ code: Code.DATA_LOSS, reason: "EXIT_STATUS_UNKNOWN" });
      await told.stop();
      await watcher.stop();
      await Promise.all(listed.map(({ Id }) => docker.getContainer(Id).remove({ force: true })));
    });
  });

  it("tells that events were lost, and the creation of every container that is there", async function () {
    this.timeout(120_000);
    const { dockerd, bench } = open();
    const docker = new Docker({ socketPath: dockerd.socket });
    const mark = bench.name("mark");
    const filter = { labels: [{ key: "mark", value: mark }] };
    const make = (name: string) =>
      docker.createContainer({ Image: image, name, Cmd: ["true"], Labels: { mark } });
    await withFar(dockerd, async (nap, forward) => {
      const stop = new AbortController();
      const seen: Event[] = [];
      const events = nap.engines.streamEvents({ engine, filter }, { signal: stop.signal });
      await events.next();
      const reading = (async () => {
        for await (const message of events) seen.push(...eventsIn(message));
      })().catch((error: unknown) => error);
      const early = await make(`${mark}-early`);
      const created = (id: string): boolean =>
        seen.some(({ action, resourceId }) => action === EventAction.CREATE && resourceId === id);
      await eventually(() => created(early.id) || undefined);

      await forward.down();
      const made = await Promise.all(Array.from({ length: 24 }, (_, n) => make(`${mark}-${n}`)));
      // More events than dockerd remembers, so that the first creations are forgotten.
      for (let n = 0; n < 270; n++) await early.rename({ name: `${mark}-early-${n}` });
      for (const container of made.slice(0, 4)) await container.start();
      await forward.up();

      await eventually(() => made.every(({ id }) => created(id)) || undefined);
      const lost = seen.filter(({ details }) => details.case === "lost");
      expect(lost).to.have.length(1);
      const [first] = lost;
      expect(first).to.include({ action: EventAction.EVENTS_LOST, synthetic: true });
      const span = first?.details.case === "lost" ? first.details.value : undefined;
      expect(compareTimes(span!.startTime!, span!.endTime!)).to.be.below(0);
      for (const { id } of made.slice(0, 4)) {
        const own = seen.filter(({ resourceId }) => resourceId === id).map(({ action }) => action);
        expect(own.slice(0, 2)).to.deep.equal([EventAction.CREATE, EventAction.START]);
      }
      stop.abort();
      await reading;
      await Promise.all([early, ...made].map((container) => container.remove({ force: true })));
    });
  });

  it("holds one subscription however many clients there are, and none when it has stopped", async () => {
    const { dockerd, bench } = open();
    const { id: container } = await bench.create({});
    await withFar(dockerd, async (nap, forward) => {
      const clients = new AbortController();
      const { signal } = clients;
      setMaxListeners(0, signal);
      const streams = Array.from({ length: 10 }, () => [
        nap.engines.streamEvents({ engine }, { signal }),
        nap.containers.watchContainers({ engine }, { signal }),
        nap.containers.waitContainer(
          { engine, container, condition: WaitCondition.NEXT_EXIT },
          { signal },
        ),
      ]).flat();
      await Promise.all(streams.map((stream) => stream.next()));
      const subscriptions = (): number => forward.count(/^GET \S+\/events\?since=/);
      expect(subscriptions()).to.equal(1);
      clients.abort();
      await Promise.allSettled(streams.map((stream) => stream.next()));
      expect(subscriptions()).to.equal(1);
      expect(await nap.stop()).to.equal(0);
      await eventually(() => forward.count(/./) === 0 || undefined);
    });
  });

  it("ends a client that does not read, with its last cursor, and its own memory stays bounded", async function () {
    this.timeout(120_000);
    const { dockerd, bench } = open();
    const docker = new Docker({ socketPath: dockerd.socket });
    await withFar(dockerd, async (nap) => {
      // Every event carries the labels: ten are a MiB.
      const Labels = { large: "x".repeat(100_000) };
      const one = bench.name("large");
      const large = await docker.createContainer({
        Image: image,
        name: one,
        Cmd: ["true"],
        Labels,
      });
      const idle = nap.engines.streamEvents({ engine });
      const watch = nap.containers.watchContainers({ engine, filter: { ids: [large.id] } });
      let cursor = (await idle.next()).value?.cursor;
      await watch.next();
      const before = memoryOf(nap.pid);
      let most = 0;
      for (let n = 0; n < 600; n++) {
        await large.rename({ name: `${one}-${n}` });
        if (n % 20 === 0) most = Math.max(most, memoryOf(nap.pid) - before);
      }
      expect(most).to.be.below(200 * 1024 * 1024);
      // What the transport held for it still comes; then it is told.
      const reading = (async () => {
        for await (const message of idle) ({ cursor } = message);
      })();
      const error = await failure(reading);
      expect(error).to.include({ code: Code.RESOURCE_EXHAUSTED, reason: "SLOW_CONSUMER" });
      expect(error.cursor).to.equal(cursor);
      const expired = await failure(all(nap.engines.streamEvents({ engine, cursor: cursor! })));
      expect(expired).to.include({ code: Code.OUT_OF_RANGE, reason: "CURSOR_EXPIRED" });
      const slow = await failure(all(watch));
      expect(slow).to.include({ code: Code.RESOURCE_EXHAUSTED, reason: "SLOW_CONSUMER" });
      await large.remove();
    });
  });

  it("takes a cursor after it was killed itself, and refuses it where dockerd has forgotten", async function () {
    this.timeout(60_000);
    const { dockerd, bench } = open();
    const docker = new Docker({ socketPath: dockerd.socket });
    const directory = mkdtempSync(join(dockerd.directory, "killed-"));
    const config = { engines: { [engine]: { driver: "docker", url: `unix://${dockerd.socket}` } } };
    const filter = { resources: [EventResource.CONTAINER], actions: [EventAction.RENAME] };
    const one = bench.name("cursor");
    const container = await docker.createContainer({ Image: image, name: one, Cmd: ["true"] });
    let count = 0;
    const rename = async (times: number): Promise<void> => {
      for (let n = 0; n < times; n++) await container.rename({ name: `${one}-${count++}` });
    };
    const namesIn = (events: readonly Event[]): string[] =>
      events.filter(({ resourceId }) => resourceId === container.id).map((e) => e.resourceName);
    const first = await startNap(directory, config);
    const stream = first.engines.streamEvents({ filter });
    await stream.next();
    await rename(20);
    const seen: string[] = [];
    let cursor = "";
    for await (const message of stream) {
      seen.push(...namesIn(eventsIn(message)));
      ({ cursor } = message);
      if (seen.length >= 10) break;
    }
    await first.kill();
    await rename(20);
    const second = await startNap(directory, config);
    try {
      const until = timestampNow();
      await new Promise((resolve) => setTimeout(resolve, 5));
      const request = { filter, cursor, until };
      const rest = await all(second.engines.streamEvents(request));
      seen.push(...rest.flatMap((message) => namesIn(eventsIn(message))));
      expect(seen).to.deep.equal(Array.from({ length: 40 }, (_, n) => `${one}-${n}`));
      cursor = rest.at(-1)?.cursor ?? "";
    } finally {
      await second.kill();
    }
    await rename(260);
    const third = await startNap(directory, config);
    try {
      const expired = await failure(all(third.engines.streamEvents({ filter, cursor })));
      expect(expired).to.include({ code: Code.OUT_OF_RANGE, reason: "CURSOR_EXPIRED" });
    } finally {
      await third.stop();
      await container.remove();
    }
  });

  it("goes on with every stream when dockerd is killed in mid-stream and started again", async function () {
    this.timeout(120_000);
    const { bench } = open();
    const dockerd = await startDockerd();
    const directory = mkdtempSync(join(dockerd.directory, "far-"));
    const url = `unix://${dockerd.socket}`;
    const nap = await startNap(directory, { engines: { [engine]: { driver: "docker", url } } });
    try {
      await resultOf(
        nap.images.importImage(importMessages(engine, { reference: image }, bench.rootfs)),
      );
      const docker = new Docker({ socketPath: dockerd.socket });
      const make = async (name: string, HostConfig: object = {}) => {
        const options = { Image: image, name, Cmd: ["sleep", "600"], StopSignal: "KILL" };
        return docker.createContainer({ ...options, HostConfig });
      };
      const plain = await make("plain");
      const again = await make("again", { RestartPolicy: { Name: "always" } });
      const passing = await make("passing", { AutoRemove: true });
      const idle = await make("idle");
      for (const container of [plain, again, passing]) await container.start();
      const told = new Told(nap, undefined);
      const watcher = new Watcher(nap, { engine });
      await eventually(() => (told.ready && watcher.synced) || undefined);
      for (const container of [plain, again, passing, idle]) {
        told.add(container.id, await container.inspect());
      }
      const wait = nap.containers.waitContainer({ engine, container: plain.id });
      await wait.next();
      const { cursor } = told;
      await dockerd.kill();
      await dockerd.again();
      expect((await wait.next()).value?.event.case).to.equal("exited");
      await eventually(async () => {
        const listed = await docker.listContainers({ all: true });
        const want = new Map(listed.map(({ Id, State, Names }) => [Id, `${Names[0]} ${State}`]));
        return told.equals(want) || undefined;
      });
      await eventually(async () => {
        return equal(watcher.containers, await listAll(nap, { engine })) || undefined;
      });
      expect(watcher.containers.get(plain.id)?.state).to.equal(ContainerState.EXITED);
      expect(watcher.containers.has(passing.id)).to.equal(false);
      // The journal is nap's own: it still knows what lay behind the cursor.
      const until = timestampNow();
      const behind = await all(nap.engines.streamEvents({ engine, cursor, until }));
      const found = behind.flatMap(eventsIn);
      const died = found.find(
        ({ resourceId, action }) => resourceId === plain.id && action === EventAction.EXIT,
      );
      expect(died).not.to.equal(undefined);
      await told.stop();
      await watcher.stop();
    } finally {
      await nap.stop();
      await dockerd.stop();
    }
  });
}

/** Runs `work` with a nap that reaches the dockerd by a socket which can be taken away. */
async function withFar(
  { directory, socket }: TestDockerd,
  work: (nap: TestNap, forward: Forward) => Promise<void>,
): Promise<void> {
  const own = mkdtempSync(join(directory, "far-"));
  const forward = new Forward(join(own, "far.sock"), socket);
  await forward.up();
  const engines = { [engine]: { driver: "docker", url: `unix://${forward.path}` } };
  const nap = await startNap(own, { engines });
  try {
    await work(nap, forward);
  } finally {
    await nap.stop();
    await forward.down();
  }
}

/** What the events of a stream tell of the containers: names and states. */
class Told {
  readonly #states = new Map<string, { name: string; state: string }>();
  readonly #abort = new AbortController();
  readonly #reading: Promise<void>;
  #failure: unknown;
  ready = false;
  synthetic = 0;
  cursor = "";

  constructor(nap: TestNap, filter: object | undefined) {
    const request = { engine, ...(filter && { filter }) };
    const stream = nap.engines.streamEvents(request, { signal: this.#abort.signal });
    this.#reading = this.#read(stream).catch((error: unknown) => {
      this.#failure = error;
    });
  }

  /** A container that was there before the stream. */
  add(id: string, { Name, State }: Docker.ContainerInspectInfo): void {
    this.#states.set(id, { name: Name, state: State.Status });
  }

  /** Whether the containers with their names and states are these. */
  equals(want: ReadonlyMap<string, string>): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    const have = [...this.#states].map(
      ([id, { name, state }]) => [id, `${name} ${state}`] as const,
    );
    return have.length === want.size && have.every(([id, text]) => want.get(id) === text);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#reading;
  }

  async #read(stream: AsyncGenerator<StreamEventsResponse>): Promise<void> {
    for await (const message of stream) {
      this.ready = true;
      this.cursor = message.cursor;
      for (const event of eventsIn(message)) this.#note(event);
    }
  }

  #note({ resource, resourceId: id, resourceName, action, synthetic }: Event): void {
    if (synthetic) this.synthetic++;
    if (resource !== EventResource.CONTAINER) return;
    if (action === EventAction.REMOVE) {
      this.#states.delete(id);
      return;
    }
    const known = this.#states.get(id) ?? { name: "", state: "created" };
    known.name = `/${resourceName}`;
    known.state = stateAfter[action] ?? known.state;
    this.#states.set(id, known);
  }
}

const stateAfter: Readonly<Partial<Record<EventAction, string>>> = {
  [EventAction.START]: "running",
  [EventAction.EXIT]: "exited",
  [EventAction.PAUSE]: "paused",
  [EventAction.UNPAUSE]: "running",
};

function equal(one: ReadonlyMap<string, unknown>, other: ReadonlyMap<string, unknown>): boolean {
  try {
    expect(new Map(one)).to.deep.equal(new Map(other));
    return true;
  } catch {
    return false;
  }
}

/** The resident bytes of a process. */
function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

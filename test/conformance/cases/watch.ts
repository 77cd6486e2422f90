/** WatchContainers: what there is, and each change. */
import { expect } from "chai";
import type {
  Container,
  WatchContainersResponse,
} from "../../../gen/nap/v1/container_service_pb.js";
import { ContainerState, HealthStatus } from "../../../gen/nap/v1/container_service_pb.js";
import { EventAction } from "../../../gen/nap/v1/engine_service_pb.js";
import { RestartMode } from "../../../gen/nap/v1/container_spec_pb.js";
import { all } from "../../support/client.js";
import { listAll, Watcher } from "../../support/watcher.js";
import type { Bench } from "../bench.js";
import { eventually, failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { eventsIn } from "../../support/batches.js";

export function watchCases(test: ConformanceTest): void {
  test(
    "watch.sends-items-synced-and-changes",
    "sends what there is, synced, and then each change with the whole container",
    async (bench) => {
      const { nap, engine } = bench;
      const { filter, labels } = marked(bench);
      const old = await bench.create({ labels });
      const watch = nap.containers.watchContainers({ engine, filter });
      expect((await next(watch)).case).to.equal("ready");
      expect(await next(watch)).to.deep.equal({
        case: "container",
        value: await bench.get(old.id),
      });
      expect((await next(watch)).case).to.equal("synced");
      const { id } = await bench.create({ labels });
      const created = await until(watch, id, ContainerState.CREATED);
      expect(created).to.deep.equal(await bench.get(id));
      await nap.containers.startContainer({ engine, container: id });
      expect(await until(watch, id, ContainerState.RUNNING)).to.deep.equal(await bench.get(id));
      await nap.containers.killContainer({ engine, container: id });
      const exited = await until(watch, id, ContainerState.EXITED);
      expect(exited.exit?.code).to.equal(137);
      await nap.containers.removeContainer({ engine, container: id });
      for (;;) {
        const event = await next(watch);
        if (event.case !== "removed") continue;
        expect(event.value).to.include({ engine, containerId: id, name: created.name });
        break;
      }
      await watch.return(undefined);
    },
  );

  test(
    "watch.goes-on-behind-its-cursor",
    "goes on behind its cursor with what has changed since, and only that",
    async (bench) => {
      const { nap, engine } = bench;
      const { filter, labels } = marked(bench);
      const [still, started, removed] = [
        await bench.create({ labels }),
        await bench.create({ labels }),
        await bench.create({ labels }),
      ];
      let cursor = "";
      for await (const message of nap.containers.watchContainers({ engine, filter })) {
        ({ cursor } = message);
        if (message.event.case === "synced") break;
        expect(cursor).to.equal("");
      }
      await nap.containers.startContainer({ engine, container: started.id });
      await nap.containers.removeContainer({ engine, container: removed.id });
      const { id: made } = await bench.create({ labels });
      const changes = new Map<string, string>();
      for await (const { event } of nap.containers.watchContainers({ engine, filter, cursor })) {
        if (event.case === "synced") break;
        if (event.case === "container") changes.set(event.value.id, event.case);
        if (event.case === "removed") changes.set(event.value.containerId, event.case);
      }
      const expected = { [started.id]: "container", [removed.id]: "removed", [made]: "container" };
      expect(Object.fromEntries(changes)).to.deep.equal(expected);
      expect(changes.has(still.id)).to.equal(false);
      const other = { ...filter, states: [ContainerState.RUNNING] };
      for (const wrong of [
        { engine, filter, cursor: "none" },
        { engine, cursor },
        { engine, filter: other, cursor },
      ]) {
        const error = await failure(all(nap.containers.watchContainers(wrong)));
        expect(error.reason).to.equal("CURSOR_INVALID");
      }
    },
  );

  test(
    "watch.follows-its-filter",
    "sends what the filter comes to select, and takes back what it no longer selects",
    async (bench) => {
      const { nap, engine } = bench;
      const { filter, labels } = marked(bench);
      const running = { ...filter, states: [ContainerState.RUNNING] };
      const { id: container } = await bench.create({ labels });
      const watch = nap.containers.watchContainers({ engine, filter: running });
      expect((await next(watch)).case).to.equal("ready");
      expect((await next(watch)).case).to.equal("synced");
      await nap.containers.startContainer({ engine, container });
      await until(watch, container, ContainerState.RUNNING);
      await nap.containers.killContainer({ engine, container });
      let event = await next(watch);
      // It may have been seen between its exit and the list.
      while (event.case === "container") event = await next(watch);
      expect(event.case === "removed" && event.value.containerId).to.equal(container);
      await watch.return(undefined);
    },
  );

  test(
    "watch.judges-its-filter-on-what-it-sends",
    "judges a filter on what it sends: every exit is shown, and nothing that does not fit",
    async (bench) => {
      const { nap, engine } = bench;
      const { filter, labels } = marked(bench);
      const { RUNNING, EXITED } = ContainerState;
      const unfit: string[] = [];
      const watchStates = (states: ContainerState[]): Watcher => {
        const note = ({ id, state }: Container): void => {
          if (!states.includes(state)) unfit.push(`${id} is ${ContainerState[state]}`);
        };
        return new Watcher(nap, { engine, filter: { ...filter, states } }, note);
      };
      const running = watchStates([RUNNING]);
      const ended = watchStates([EXITED]);
      const failed = new Watcher(nap, { engine, filter: { ...filter, exitCodes: [3] } });
      for (const watcher of [running, ended, failed]) {
        await eventually(() => watcher.synced || undefined);
      }
      const late: Watcher[] = [];
      const rounds = 6;
      const atOnce = 4;
      for (let round = 0; round < rounds; round++) {
        const script = ["sh", "-c", "exit 3"];
        await Promise.all(Array.from({ length: atOnce }, () => bench.start({ labels }, script)));
        late.push(watchStates([EXITED]));
      }
      const all = rounds * atOnce;
      for (const watcher of [ended, failed, ...late]) {
        await eventually(() => (watcher.synced && watcher.containers.size === all) || undefined);
      }
      await eventually(() => (running.synced && running.containers.size === 0) || undefined);
      expect(unfit).to.deep.equal([]);
      for (const watcher of [running, ended, failed, ...late]) await watcher.stop();
    },
  );

  test(
    "watch.lists-nothing-as-running-after-its-exit",
    "lists no container as running once its exit was reported",
    async (bench) => {
      const { nap, engine } = bench;
      const { labels } = marked(bench);
      const states = [ContainerState.RUNNING];
      const events = nap.engines.streamEvents({ engine, filter: { actions: [EventAction.EXIT] } });
      await events.next();
      const stale: string[] = [];
      const listed: Promise<void>[] = [];
      const expectEnded = async (id: string): Promise<void> => {
        const filter = { ids: [id], states };
        const { containers } = await nap.containers.listContainers({ engine, filter });
        stale.push(...containers.map((container) => container.id));
      };
      const count = 24;
      const runs = Array.from({ length: count }, () => bench.start({ labels }, ["true"]));
      while (listed.length < count) {
        const { value, done } = await events.next();
        if (done) throw new Error("the stream ended");
        for (const { resourceId } of eventsIn(value)) listed.push(expectEnded(resourceId));
      }
      await Promise.all([...runs, ...listed]);
      expect(stale).to.deep.equal([]);
      await events.return(undefined);
    },
  );

  test(
    "watch.equals-the-list-under-churn",
    "equals the engine's list at every quiet point under churn from three clients at once",
    async (bench) => {
      const { nap, engine } = bench;
      const { filter, labels } = marked(bench);
      const early = new Watcher(nap, { engine, filter });
      await eventually(() => early.synced || undefined);
      const churn = async (client: number): Promise<void> => {
        const { id: container } = await bench.create({ labels });
        const kept = await bench.start({ labels }, ["sh", "-c", `exit ${client}`]);
        await nap.containers.startContainer({ engine, container });
        await nap.containers.killContainer({ engine, container });
        await nap.containers.removeContainer({ engine, container, force: true });
        if (client === 0) await nap.containers.startContainer({ engine, container: kept.id });
      };
      for (let round = 0; round < 3; round++) {
        const busy = [0, 1, 2].map(churn);
        const late = new Watcher(nap, { engine, filter });
        await Promise.all(busy);
        for (const watcher of [early, late]) {
          await eventually(async () => {
            const list = await listAll(nap, { engine, filter });
            const still = [...list.values()].every(({ exit }) => exit !== undefined);
            return (still && watcher.synced && same(watcher.containers, list)) || undefined;
          });
          expect(watcher.containers.size).to.equal(3 * (round + 1));
        }
        await late.stop();
      }
      await early.stop();
    },
  );

  test(
    "watch.shows-health-and-restarts",
    "shows that a health check changed its mind, and how often a container was restarted",
    async (bench) => {
      const { nap, engine } = bench;
      const { filter, labels } = marked(bench);
      const watch = nap.containers.watchContainers({ engine, filter });
      expect((await next(watch)).case).to.equal("ready");
      expect((await next(watch)).case).to.equal("synced");
      const check = { case: "shellCommand" as const, value: "test -e /tmp/well" };
      const interval = { seconds: 0n, nanos: 100_000_000 };
      const restartPolicy = { mode: RestartMode.ON_FAILURE };
      const healthCheck = { check, interval, retries: 1 };
      const command = ["sh", "-c", "test -e /tmp/again || { touch /tmp/again; exit 1; }; sleep 60"];
      const { id } = await bench.start({ labels, healthCheck, restartPolicy }, command);
      let seen = await until(watch, id, ContainerState.RUNNING);
      while (seen.restartCount !== 1) seen = await until(watch, id, ContainerState.RUNNING);
      while (seen.health !== HealthStatus.UNHEALTHY) {
        seen = await until(watch, id, ContainerState.RUNNING);
      }
      await bench.exec(id, "touch /tmp/well");
      while (seen.health !== HealthStatus.HEALTHY) {
        seen = await until(watch, id, ContainerState.RUNNING);
      }
      expect(seen.restartCount).to.equal(1);
      await watch.return(undefined);
    },
  );
}

/** A label that selects what one case makes. */
function marked(bench: Bench) {
  const mark = bench.name("mark");
  return { filter: { labels: [{ key: "mark", value: mark }] }, labels: { mark } };
}

function same(one: ReadonlyMap<string, unknown>, other: ReadonlyMap<string, unknown>): boolean {
  try {
    expect(new Map(one)).to.deep.equal(new Map(other));
    return true;
  } catch {
    return false;
  }
}

type Watch = AsyncGenerator<WatchContainersResponse>;

async function next(watch: Watch): Promise<WatchContainersResponse["event"]> {
  const { value, done } = await watch.next();
  if (done) throw new Error("the watch ended");
  return value.event;
}

/** Reads on until the container is shown in a state. */
async function until(watch: Watch, id: string, state: ContainerState) {
  for (;;) {
    const { case: kind, value } = await next(watch);
    if (kind === "container" && value.id === id && value.state === state) return value;
  }
}

/** StreamEvents: what happens on an engine. */
import { expect } from "chai";
import { timestampMs, timestampNow } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import { status as Code } from "@grpc/grpc-js";
import { all } from "../../support/client.js";
import type { Bench } from "../bench.js";
import { failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { eventsIn, exitIn } from "../../support/batches.js";
import { imageSource } from "../../support/requests/source.js";

const life = [EventAction.CREATE, EventAction.START, EventAction.EXIT, EventAction.REMOVE];

export function eventCases(test: ConformanceTest): void {
  test(
    "event.shows-the-life-of-a-container",
    "shows create, start, die with the exit code, and destroy of a container",
    async (bench) => {
      const { nap, engine, image } = bench;
      const name = bench.name("watched");
      const filter = { resources: [EventResource.CONTAINER], actions: life, containers: [name] };
      const events = nap.engines.streamEvents({ engine, filter });
      expect((await events.next()).value?.event.case).to.equal("ready");
      const command = { arguments: ["sh", "-c", "exit 8"] };
      const spec = { source: imageSource(image), command, autoRemove: true };
      const before = Date.now();
      await all(nap.containers.runContainer({ engine, name, spec }));
      const seen: Event[] = [];
      for await (const message of events) {
        seen.push(...eventsIn(message));
        if (seen.some(({ action }) => action === EventAction.REMOVE)) break;
      }
      expect(seen.map(({ action }) => action)).to.deep.equal(life);
      expect(seen.map(({ resourceName }) => resourceName)).to.deep.equal(life.map(() => name));
      expect(exitIn(seen.find(({ action }) => action === EventAction.EXIT))?.code).to.equal(8);
      expect(new Set(seen.map((event) => event.engine))).to.deep.equal(new Set([engine]));
      for (const { time } of seen) {
        expect(timestampMs(time!)).to.be.within(before - 1000, Date.now() + 1000);
      }
    },
  );

  test(
    "event.replays-between-two-times",
    "replays since a time and ends at a time that has passed",
    async (bench) => {
      const since = timestampNow();
      const { id } = await bench.create({});
      // A client's clock may have whole milliseconds, and both ends are included.
      await new Promise((resolve) => setTimeout(resolve, 5));
      const until = timestampNow();
      const seen = await eventsOf(bench, { since, until });
      expect(seen.filter(({ resourceId }) => resourceId === id)).to.have.length(1);
      expect(await eventsOf(bench, { since: until, until })).to.deep.equal([]);
    },
  );

  test(
    "event.goes-on-behind-a-cursor",
    "goes on behind a cursor, with nothing missing and nothing twice",
    async (bench) => {
      const { nap, engine } = bench;
      const mark = bench.name("mark");
      const filter = { labels: [{ key: "mark", value: mark }] };
      const since = timestampNow();
      const ready = nap.engines.streamEvents({ engine, filter });
      let cursor = (await ready.next()).value?.cursor ?? "";
      await ready.return(undefined);
      const seen: Event[] = [];
      // A stream for each event: each is cut behind it, and the next one goes on.
      for (let n = 0; n < 6; n++) {
        await bench.create({ labels: { mark } });
        for await (const message of nap.engines.streamEvents({ engine, filter, cursor })) {
          seen.push(...eventsIn(message));
          ({ cursor } = message);
          if (eventsIn(message).length > 0) break;
        }
      }
      const until = timestampNow();
      const replayed = await eventsOf(bench, { since, until, filter });
      expect(seen).to.deep.equal(replayed);
      expect(seen).to.have.length(6);
    },
  );

  test(
    "event.refuses-a-foreign-cursor",
    "refuses a cursor that it did not give, one of another engine, and one beside since",
    async (bench) => {
      const { nap, engine } = bench;
      const own = (await nap.engines.streamEvents({ engine }).next()).value?.cursor ?? "";
      const refused = async (request: Selection): Promise<string> => {
        const error = await failure(all(nap.engines.streamEvents({ ...request, engine })));
        expect(error.code).to.equal(Code.INVALID_ARGUMENT);
        return error.reason;
      };
      expect(await refused({ cursor: "garbage" })).to.equal("CURSOR_INVALID");
      expect(await refused({ cursor: own.slice(0, -9) })).to.equal("CURSOR_INVALID");
      expect(await refused({ cursor: own, since: timestampNow() })).to.equal("FIELD_INVALID");
      const { engines } = await nap.engines.listEngines({});
      for (const { name: other } of engines.filter(({ name }) => name !== engine)) {
        const foreign = (await nap.engines.streamEvents({ engine: other }).next()).value?.cursor;
        expect(await refused({ cursor: foreign ?? "" })).to.equal("CURSOR_INVALID");
      }
    },
  );

  test(
    "event.shows-volumes-and-networks-by-label",
    "shows volumes and networks, and selects by label",
    async (bench) => {
      const { nap, engine } = bench;
      const mark = bench.name("mark");
      const since = timestampNow();
      const volume = bench.name("volume");
      await nap.volumes.createVolume({ engine, name: volume });
      await nap.volumes.removeVolume({ engine, volume });
      await bench.create({ labels: { mark } });
      const filter = { labels: [{ key: "mark", value: mark }] };
      const until = timestampNow();
      const marked = await eventsOf(bench, { since, until, filter });
      expect(marked.map(({ resource }) => resource)).to.deep.equal([EventResource.CONTAINER]);
      const volumes = { resources: [EventResource.VOLUME], volumes: [volume] };
      const seen = await eventsOf(bench, { since, until, filter: volumes });
      expect(seen.map(({ action }) => action)).to.deep.equal([
        EventAction.CREATE,
        EventAction.REMOVE,
      ]);
    },
  );
}

type Selection = Parameters<Bench["nap"]["engines"]["streamEvents"]>[0];

async function eventsOf({ nap, engine }: Bench, selection: Selection): Promise<Event[]> {
  const request = { ...selection, engine } as Selection;
  return (await all(nap.engines.streamEvents(request))).flatMap(eventsIn);
}

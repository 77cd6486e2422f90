/** Journals of events, the streams and cursors that read them, and the exits among the events. */
import { create, toBinary } from "@bufbuild/protobuf";
import { expect } from "chai";
import * as fc from "fast-check";
import type { Event, StreamEventsResponse } from "../../../gen/nap/v1/engine_service_pb.js";
import {
  EventAction,
  EventResource,
  EventSchema,
  StreamEventsRequestSchema,
} from "../../../gen/nap/v1/engine_service_pb.js";
import { NapError } from "../../contract/errors.js";
import type { EventSource } from "./stream.js";
import { streamEvents } from "./stream.js";
import { ExitCache } from "./exit-cache.js";
import { identityOf, Journal } from "./journal.js";
import { eventsIn, exitIn } from "../../../test/support/batches.js";

const bounds = { events: 64, bytes: 1024 * 1024 };
/** The number of events that the engine of these tests stores; fewer than its journal holds. */
const engineRemembers = 20;
const never = new AbortController().signal;

function eventAt(second: number, resourceId: string, more: { synthetic?: boolean } = {}): Event {
  const time = { seconds: BigInt(second), nanos: 0 };
  return create(EventSchema, { resource: EventResource.CONTAINER, resourceId, time, ...more });
}

function sourceOf(journal: Journal, engine = "one"): EventSource {
  const flushed = async (): Promise<void> => undefined;
  return { engine, journal, exits: new ExitCache(), clockOffsetMillis: 0, flushed };
}

function streamOf(
  journal: Journal,
  request: { cursor?: string; since?: { seconds: bigint }; until?: { seconds: bigint } } = {},
  engine = "one",
): AsyncGenerator<StreamEventsResponse> {
  const call = { signal: never } as Parameters<typeof streamEvents>[2];
  return streamEvents(sourceOf(journal, engine), create(StreamEventsRequestSchema, request), call);
}

/** Returns the next message, or the error that the stream fails with. */
async function nextOf(
  stream: AsyncGenerator<StreamEventsResponse>,
): Promise<StreamEventsResponse | NapError> {
  try {
    const { value, done } = await stream.next();
    if (done) throw new Error("the stream has ended");
    return value;
  } catch (error) {
    if (error instanceof NapError) return error;
    throw error;
  }
}

async function messageOf(
  stream: AsyncGenerator<StreamEventsResponse>,
): Promise<StreamEventsResponse> {
  const message = await nextOf(stream);
  if (message instanceof NapError) throw message;
  return message;
}

async function kindOf(stream: AsyncGenerator<StreamEventsResponse>): Promise<string> {
  const error = await nextOf(stream);
  return error instanceof NapError ? error.reason : "no error";
}

/** One reader of one engine, and the events that it must have received by now. */
class Reader {
  #journal = new Journal(bounds);
  #stream = streamOf(this.#journal);
  /** The journal of the last cursor, and the reader's position in the current journal. */
  #cursorOf = this.#journal;
  #position = 0;
  #cursor = "";
  /** All events that the engine reported, and all that the reader must receive. */
  readonly #own: Event[] = [];
  #owed: Event[] = [];
  readonly #had: Event[] = [];
  #second = 1;
  #count = 0;

  async open(): Promise<this> {
    ({ cursor: this.#cursor } = await messageOf(this.#stream));
    return this;
  }

  append(later: boolean, wanted: boolean): void {
    this.#count++;
    if (later) this.#second++;
    const synthetic = wanted && this.#count % 3 === 0;
    const event = eventAt(this.#second, `c${this.#count}`, { synthetic });
    if (!synthetic) this.#own.push(event);
    this.#owed.push(event);
    this.#journal.append(event);
  }

  /** Reads all events there are. Returns false if the reader got the error that it fell behind. */
  async read(): Promise<boolean> {
    if (this.#had.length === this.#owed.length) return true;
    const message = await nextOf(this.#stream);
    if (message instanceof NapError) {
      expect(message.reason).to.equal("SLOW_CONSUMER");
      expect(this.#position).to.be.below(this.#journal.first);
      expect(message.details.cursor).to.equal(this.#cursor);
      return false;
    }
    this.#had.push(...eventsIn(message));
    expect(ids(this.#had)).to.deep.equal(ids(this.#owed));
    this.#cursor = message.cursor;
    this.#cursorOf = this.#journal;
    this.#position = this.#journal.end;
    return true;
  }

  /** Continues from the last cursor. Returns false if the reader got the error that it is too old. */
  async cut(): Promise<boolean> {
    await this.#stream.return(undefined);
    this.#stream = streamOf(this.#journal, { cursor: this.#cursor });
    const first = await nextOf(this.#stream);
    if (!(first instanceof NapError)) {
      expect(first.event.case).to.equal("ready");
      expect(first.cursor).to.equal(this.#cursor);
      if (this.#cursorOf !== this.#journal) this.#position = this.#journal.first;
      return true;
    }
    expect(first.reason).to.equal("CURSOR_EXPIRED");
    if (this.#cursorOf === this.#journal) {
      expect(this.#position).to.be.below(this.#journal.first);
      return false;
    }
    // The stored events of the engine may or may not reach back to the last 16 events that were read.
    const last = this.#had.filter(({ synthetic }) => !synthetic).slice(-16);
    const [from] = last;
    const oldest = this.#journal.oldest();
    if (from === undefined || oldest === undefined) return false;
    expect(Number(oldest.time?.seconds)).to.be.at.least(Number(from.time?.seconds));
    return false;
  }

  /** Restarts the server, whose journal then has only the events that the engine stores. */
  async restart(): Promise<boolean> {
    this.#journal = new Journal(bounds);
    for (const event of this.#own.slice(-engineRemembers)) this.#journal.append(event);
    const had = new Set(ids(this.#had));
    this.#owed = this.#owed.filter((event) => had.has(event.resourceId) || !event.synthetic);
    return await this.cut();
  }

  async close(): Promise<void> {
    await this.#stream.return(undefined);
  }
}

function ids(events: readonly Event[]): string[] {
  return events.map(({ resourceId }) => resourceId);
}

describe("core: journals of events", () => {
  const appending = fc.record({
    act: fc.constant("append" as const),
    many: fc.integer({ min: 1, max: 40 }),
    later: fc.boolean(),
    synthetic: fc.boolean(),
  });
  const step = (act: "read" | "cut" | "restart") => fc.record({ act: fc.constant(act) });

  it("a reader has every event once and in order, however it is cut off, or is told", async () => {
    const steps = fc.array(
      fc.oneof(
        { weight: 4, arbitrary: appending },
        { weight: 4, arbitrary: step("read") },
        { weight: 2, arbitrary: step("cut") },
        { weight: 1, arbitrary: step("restart") },
      ),
      { maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const reader = await new Reader().open();
        for (const one of all) {
          if (one.act === "append") {
            const { many, later, synthetic } = one;
            for (let n = 0; n < many; n++) reader.append(later, synthetic);
          } else if (!(await reader[one.act]())) {
            // A reader that got an error for evicted events gets it again.
            break;
          }
        }
        await reader.close();
      }),
    );
  });

  it("a cursor outlives a restart of the server among many events of one time", async () => {
    const before = new Journal(bounds);
    const stream = streamOf(before);
    await messageOf(stream);
    const events = [eventAt(1, "first")];
    for (let n = 0; n < 50; n++) events.push(eventAt(2, `c${n}`));
    for (const event of events) before.append(event);
    const { event, cursor } = await messageOf(stream);
    expect(eventsIn({ event })).to.have.length(51);
    const after = new Journal(bounds);
    for (const event of [...events, eventAt(2, "last")]) after.append(event);
    const resumed = streamOf(after, { cursor });
    await messageOf(resumed);
    expect(ids(eventsIn(await messageOf(resumed)))).to.deep.equal(["last"]);
  });

  it("a cursor is too old where an event of its own time may be forgotten", async () => {
    const before = new Journal(bounds);
    const stream = streamOf(before);
    await messageOf(stream);
    before.append(eventAt(2, "read"));
    const { cursor } = await messageOf(stream);
    const after = new Journal(bounds);
    after.append(eventAt(2, "unread"));
    expect(await kindOf(streamOf(after, { cursor }))).to.equal("CURSOR_EXPIRED");
  });

  it("a cursor of another engine, of no journal, or out of nowhere is refused as such", async () => {
    const journal = new Journal(bounds);
    const { cursor } = await messageOf(streamOf(journal));
    expect(await kindOf(streamOf(journal, { cursor }, "two"))).to.equal("CURSOR_INVALID");
    const own = JSON.parse(Buffer.from(cursor, "base64url").toString()) as object;
    const encoded = (value: unknown): string =>
      Buffer.from(JSON.stringify(value) ?? "").toString("base64url");
    const wrong = fc.constantFrom("version", "engine", "epoch", "position", "time", "read");
    const garbage = fc.oneof(
      fc.string({ minLength: 1 }),
      fc.json().map((text) => Buffer.from(text).toString("base64url")),
      wrong.map((key) => encoded({ ...own, [key]: undefined })),
      wrong.map((key) => encoded({ ...own, [key]: {} })),
      fc.integer({ min: 1 }).map((position) => encoded({ ...own, position })),
      fc.integer({ max: -1 }).map((position) => encoded({ ...own, position })),
    );
    await fc.assert(
      fc.asyncProperty(garbage, async (text) => {
        expect(await kindOf(streamOf(journal, { cursor: text }))).to.equal("CURSOR_INVALID");
      }),
    );
  });

  it("a cursor and a time to begin at do not go together", async () => {
    const journal = new Journal(bounds);
    const { cursor } = await messageOf(streamOf(journal));
    const error = await nextOf(streamOf(journal, { cursor, since: { seconds: 1n } }));
    expect(error).to.include({ reason: "FIELD_INVALID" });
    expect((error as NapError).details.violations?.map(({ field }) => field)).to.include("since");
  });

  it("a span gives the events of its times, both ends included, and ends", async () => {
    const journal = new Journal(bounds);
    for (let second = 1; second <= 6; second++) journal.append(eventAt(second, `c${second}`));
    const span = { since: { seconds: 2n }, until: { seconds: 4n } };
    const seen: string[] = [];
    for await (const message of streamOf(journal, span)) seen.push(...ids(eventsIn(message)));
    expect(seen).to.deep.equal(["c2", "c3", "c4"]);
  });

  it("a stream that selects nothing gets fresh cursors all the same", async () => {
    const journal = new Journal();
    const request = create(StreamEventsRequestSchema, { filter: { volumes: ["none"] } });
    const call = { signal: never } as Parameters<typeof streamEvents>[2];
    const stream = streamEvents(sourceOf(journal), request, call);
    const { cursor: first } = await messageOf(stream);
    for (let n = 0; n < 5000; n++) journal.append(eventAt(1, `c${n}`));
    const { event, cursor } = await messageOf(stream);
    expect(eventsIn({ event })).to.deep.equal([]);
    expect(cursor).not.to.equal(first);
    await stream.return(undefined);
  });

  it("keeps to its bounds of events and of bytes, and knows what it has", () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 400 }), { maxLength: 60 });
    const limits = fc.record({
      events: fc.integer({ min: 1, max: 12 }),
      bytes: fc.integer({ min: 1, max: 2000 }),
    });
    // Some events come twice, as a synthetic event may.
    const twice = fc.array(fc.boolean(), { minLength: 60, maxLength: 60 });
    fc.assert(
      fc.property(sizes, limits, twice, (lengths, limit, again) => {
        const journal = new Journal(limit);
        const all: Event[] = [];
        for (const [n, length] of lengths.entries()) {
          const repeated = again[n] ? all.at(-1) : undefined;
          const event = repeated ?? eventAt(n, `${n}-${"x".repeat(length)}`);
          all.push(event);
          journal.append(event);
          const { events, position } = journal.after(journal.first);
          expect(position).to.equal(journal.end).and.equal(all.length);
          expect(events.length).to.be.at.most(limit.events);
          const bytes = events.map((one) => toBinary(EventSchema, one).length);
          expect(bytes.reduce((sum, one) => sum + one, 0)).to.be.at.most(limit.bytes);
          expect(ids(events)).to.deep.equal(ids(all.slice(journal.first)));
          // A recently evicted event is still recognized, since an engine may report it again.
          for (const one of all) expect(journal.holds(identityOf(one))).to.equal(true);
        }
      }),
    );
  });

  it("knows the last thousand events that it has forgotten, and no older ones", () => {
    const journal = new Journal({ events: 1, bytes: 1_000_000 });
    const events = Array.from({ length: 1100 }, (_, n) => eventAt(n, String(n)));
    for (const event of events) journal.append(event);
    expect(journal.holds(identityOf(events[0]!))).to.equal(false);
    expect(journal.holds(identityOf(events[100]!))).to.equal(true);
  });

  it("gives large events in answers of bounded size, and none of them twice", () => {
    const journal = new Journal();
    for (let n = 0; n < 40; n++) journal.append(eventAt(n, `${n}-${"x".repeat(60_000)}`));
    const seen: Event[] = [];
    for (let position = 0; position < journal.end;) {
      const chunk = journal.after(position);
      const bytes = chunk.events.map((event) => toBinary(EventSchema, event).length);
      expect(bytes.reduce((sum, one) => sum + one, 0)).to.be.below(1024 * 1024);
      seen.push(...chunk.events);
      ({ position } = chunk);
    }
    expect(seen.map(({ time }) => Number(time?.seconds))).to.deep.equal([...Array(40).keys()]);
  });

  it("wakes every reader that waits, and lets one go whose signal aborts", async () => {
    const journal = new Journal(bounds);
    const abort = new AbortController();
    const reason = new Error("enough");
    const stays = [journal.next(0, never), journal.next(0, never)];
    const goes = journal.next(0, abort.signal);
    abort.abort(reason);
    expect(await goes.catch((error: unknown) => error)).to.equal(reason);
    expect(await journal.next(0, abort.signal).catch((error: unknown) => error)).to.equal(reason);
    journal.append(eventAt(1, "c"));
    for (const { events } of await Promise.all(stays)) expect(ids(events)).to.deep.equal(["c"]);
  });
});

describe("core: exits", () => {
  const minute = 60_000;

  function died(id: string, code?: number): Event {
    const exit = code === undefined ? {} : { details: { case: "exit" as const, value: { code } } };
    const { CONTAINER: resource } = EventResource;
    const action = EventAction.EXIT;
    return create(EventSchema, {
      resource,
      action,
      resourceId: id,
      resourceName: `n-${id}`,
      ...exit,
    });
  }

  function acted(id: string, action: EventAction): Event {
    return create(EventSchema, { resource: EventResource.CONTAINER, action, resourceId: id });
  }

  it("an exit is remembered for ten minutes and no longer", () => {
    let now = 0;
    const exits = new ExitCache(() => now);
    exits.record(died("abc1", 7));
    now = 10 * minute - 1;
    for (const key of ["abc1", "n-abc1", "ab"]) {
      expect(exits.find(key)?.exit.code, key).to.equal(7);
    }
    now = 10 * minute;
    for (const key of ["abc1", "n-abc1", "ab"]) expect(exits.find(key), key).to.equal(undefined);
  });

  it("a later exit of the same container counts, and from its own time on", () => {
    let now = 0;
    const exits = new ExitCache(() => now);
    exits.record(died("a", 1));
    exits.record(died("b", 2));
    now = 9 * minute;
    exits.record(died("a", 3));
    now = 11 * minute;
    expect(exits.find("a")?.exit.code).to.equal(3);
    expect(exits.find("b")).to.equal(undefined);
  });

  it("of more than ten thousand exits the oldest are forgotten", () => {
    const exits = new ExitCache(() => 0);
    for (let n = 0; n < 10_005; n++) exits.record(died(`${n}.`, 0));
    for (let n = 0; n < 5; n++) expect(exits.find(`${n}.`)).to.equal(undefined);
    expect(exits.find("5.")?.id).to.equal("5.");
    expect(exits.find("10004.")?.id).to.equal("10004.");
  });

  it("an exit that nobody saw is not taken for the one before", () => {
    const exits = new ExitCache(() => 0);
    exits.record(died("a", 1));
    exits.record(died("a"));
    expect(exits.find("a")).to.equal(undefined);
  });

  it("finds an id before a name, the latest of a name, and no prefix of several", () => {
    const exits = new ExitCache(() => 0);
    exits.record(create(EventSchema, { ...died("aa1", 1), resourceName: "same" }));
    exits.record(create(EventSchema, { ...died("aa2", 2), resourceName: "same" }));
    exits.record(create(EventSchema, { ...died("b", 3), resourceName: "aa1" }));
    expect(exits.find("same")?.exit.code).to.equal(2);
    expect(exits.find("aa1")?.exit.code).to.equal(1);
    expect(() => exits.find("aa"))
      .to.throw(NapError)
      .with.property("reason", "AMBIGUOUS_ID");
  });

  it("an exit tells of a want of memory in the same run, and not in one before", () => {
    const exits = new ExitCache(() => 0);
    exits.record(acted("a", EventAction.OOM));
    expect(exitIn(exits.record(died("a", 137)))?.oomKilled).to.equal(true);
    expect(exits.find("a")?.exit.oomKilled).to.equal(true);
    exits.record(acted("a", EventAction.START));
    expect(exitIn(exits.record(died("a", 0)))?.oomKilled).to.equal(false);
  });
});

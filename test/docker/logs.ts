/** Logs on Docker that are cut, rotated, restarted and removed while they are read. */
import { setMaxListeners } from "node:events";
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import type { LogConfigSchema } from "../../gen/nap/v1/container_spec_pb.js";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  LogEntry,
  StreamContainerLogsResponse,
} from "../../gen/nap/v1/container_service_pb.js";
import { LogEndReason, LogGapReason } from "../../gen/nap/v1/container_service_pb.js";
import { OutputStream } from "../../gen/nap/v1/types_pb.js";
import type { Bench } from "../conformance/bench.js";
import { eventually } from "../conformance/bench.js";
import { all, failure } from "../support/client.js";
import { Random } from "../fuzz/mutation.js";
import type { DockerBench } from "./cases.js";

const engine = "docker";
type LogConfig = MessageInitShape<typeof LogConfigSchema>;

/** The bytes of each stream, put together. */
function bytesOf(entries: readonly LogEntry[]): Record<"out" | "err", string> {
  const of = (wanted: OutputStream): string =>
    Buffer.concat(
      entries.filter(({ stream }) => stream === wanted).map(({ data }) => data),
    ).toString();
  return { out: of(OutputStream.STDOUT), err: of(OutputStream.STDERR) };
}

function entriesOf(messages: readonly StreamContainerLogsResponse[]): LogEntry[] {
  return messages.flatMap(({ event }) => (event.case === "batch" ? event.value.entries : []));
}

/** Waits until a container has exited. */
async function exited({ nap }: Bench, container: string): Promise<void> {
  await all(nap.containers.waitContainer({ engine, container }));
}

/** Declares the cases. `open` gives their bench when the tests run. */
export function logCases(open: () => DockerBench): void {
  for (const driver of ["json-file", "local"]) {
    it(`yields byte for byte what the uncut stream yields, cut 24 times in 200,000 lines of two streams: ${driver}`, async function () {
      this.timeout(240_000);
      const { bench } = open();
      const { nap } = bench;
      const script =
        'seq 1 100000 & seq 100001 200000 >&2; wait; head -c 40000 /dev/zero | tr "\\0" x; echo';
      const { id: container } = await bench.start({ logConfig: { driver } }, ["sh", "-c", script]);
      const seed = Date.now() % 2 ** 31;
      const random = new Random(seed);
      const seen: LogEntry[] = [];
      let cursor = "";
      // The container still writes during the first of these.
      for (let cut = 0; cut < 24; cut++) {
        const client = new AbortController();
        const { signal } = client;
        const request = { engine, container, follow: true, cursor };
        let left = 1 + random.below(12);
        const stream = nap.containers.streamContainerLogs(request, { signal });
        for await (const message of stream) {
          expect(message.event.case, `seed ${seed}`).to.be.oneOf(["ready", "batch", "end"]);
          for (const entry of entriesOf([message])) seen.push(entry);
          ({ cursor } = message);
          if (--left === 0) break;
        }
        client.abort();
      }
      await exited(bench, container);
      const rest = await all(nap.containers.streamContainerLogs({ engine, container, cursor }));
      for (const entry of entriesOf(rest)) seen.push(entry);
      expect(rest.at(-1)?.event.value).to.include({ reason: LogEndReason.COMPLETE });
      const numbers = (from: number, to: number): string =>
        Array.from({ length: to - from + 1 }, (_, index) => `${from + index}\n`).join("");
      const { out, err } = bytesOf(seen);
      expect(out === `${numbers(1, 100_000)}${"x".repeat(40_000)}\n`, `seed ${seed}`).to.equal(
        true,
      );
      expect(err === numbers(100_001, 200_000), `seed ${seed}`).to.equal(true);
    });
  }

  for (const [claim, logConfig] of [
    ["json-file", { driver: "json-file", options: { "max-size": "20k", "max-file": "40" } }],
    [
      "json-file, compressed",
      { driver: "json-file", options: { "max-size": "20k", "max-file": "40", compress: "true" } },
    ],
    ["local", { driver: "local", options: { "max-size": "20k", "max-file": "40" } }],
  ] as readonly [string, LogConfig][]) {
    it(`follows a log that rotates without losing or repeating a line, cut and uncut: ${claim}`, async function () {
      this.timeout(120_000);
      const { bench } = open();
      const { nap } = bench;
      const script =
        "n=1; while [ $n -le 1500 ]; do echo $n padding-padding; [ $((n%50)) = 0 ] && sleep 0.03; n=$((n+1)); done";
      const { id: container } = await bench.start({ logConfig }, ["sh", "-c", script]);
      const request = { engine, container, follow: true };
      const uncut = all(nap.containers.streamContainerLogs(request));
      const pieces: LogEntry[] = [];
      let cursor = "";
      for (let isOver = false; !isOver;) {
        const client = new AbortController();
        const { signal } = client;
        const stream = nap.containers.streamContainerLogs({ ...request, cursor }, { signal });
        for await (const message of stream) {
          pieces.push(...entriesOf([message]));
          ({ cursor } = message);
          isOver = message.event.case === "end";
          if (message.event.case === "batch") break;
        }
        client.abort();
      }
      const wanted = Array.from({ length: 1500 }, (_, n) => `${n + 1} padding-padding\n`).join("");
      const whole = await uncut;
      expect(whole.filter(({ event }) => event.case === "gap")).to.deep.equal([]);
      expect(bytesOf(entriesOf(whole)).out).to.equal(wanted);
      expect(bytesOf(pieces).out).to.equal(wanted);
    });
  }

  it("tells a gap where what comes behind a cursor has been rotated away", async () => {
    const { bench } = open();
    const { nap } = bench;
    const logConfig = { driver: "json-file", options: { "max-size": "4k", "max-file": "2" } };
    const script = "echo first; while [ ! -e /go ]; do sleep 0.05; done; seq 1 2000; exec sleep 60";
    const { id: container } = await bench.start({ logConfig }, ["sh", "-c", script]);
    const head = await eventually(async () => {
      const found = await all(nap.containers.streamContainerLogs({ engine, container }));
      return entriesOf(found).length > 0 ? found : undefined;
    });
    const { cursor } = head.find(({ event }) => event.case === "batch")!;
    await bench.exec(container, "touch /go");
    const rest = await eventually(async () => {
      const found = await all(nap.containers.streamContainerLogs({ engine, container, cursor }));
      return bytesOf(entriesOf(found)).out.endsWith("2000\n") ? found : undefined;
    });
    const [ready, gap] = rest;
    expect(ready?.event.case).to.equal("ready");
    expect(gap?.event).to.deep.include({ case: "gap" });
    expect(gap?.event.value).to.include({ reason: LogGapReason.ROTATED });
    expect(rest.filter(({ event }) => event.case === "gap")).to.have.length(1);
  });

  it("marks the parts of a line of more than 16 KiB, and joins to it what was written", async () => {
    const { bench } = open();
    const { nap } = bench;
    for (const driver of ["json-file", "local"]) {
      const script =
        'head -c 40000 /dev/zero | tr "\\0" x; echo; head -c 16384 /dev/zero | tr "\\0" y; echo; echo z';
      const { id: container } = await bench.start({ logConfig: { driver } }, ["sh", "-c", script]);
      await exited(bench, container);
      const entries = entriesOf(
        await all(nap.containers.streamContainerLogs({ engine, container })),
      );
      expect(entries.map(({ partial }) => partial)).to.deep.equal([
        true,
        true,
        false,
        true,
        false,
        false,
      ]);
      expect(bytesOf(entries).out).to.equal(`${"x".repeat(40_000)}\n${"y".repeat(16_384)}\nz\n`);
    }
  });

  it("follows over restarts until the removal, and tells where each run begins", async () => {
    const { bench } = open();
    const { nap } = bench;
    for (const logConfig of [{ driver: "json-file" }, { driver: "local" }]) {
      const { id: container } = await bench.start({ logConfig }, [
        "sh",
        "-c",
        "echo up; exec sleep 60",
      ]);
      const request = { engine, container, follow: true, followRestarts: true };
      const stream = nap.containers.streamContainerLogs(request);
      const seen: StreamContainerLogsResponse[] = [];
      const reading = (async () => {
        for await (const message of stream) seen.push(message);
      })();
      const count = (wanted: string): number =>
        seen.filter(({ event }) => event.case === wanted).length;
      for (let run = 1; run <= 3; run++) {
        await eventually(() => (count("batch") === run ? true : undefined));
        const timeout = { seconds: 0n };
        if (run < 3) await nap.containers.restartContainer({ engine, container, timeout });
      }
      await nap.containers.removeContainer({ engine, container, force: true });
      await reading;
      expect(seen.map(({ event }) => event.case)).to.deep.equal([
        "ready",
        "batch",
        "runStart",
        "batch",
        "runStart",
        "batch",
        "end",
      ]);
      expect(seen.at(-1)?.event.value).to.include({ reason: LogEndReason.REMOVED });
      expect(bytesOf(entriesOf(seen)).out).to.equal("up\nup\nup\n");
    }
  });

  it("tells of a restart that came while a stream was cut, and of no other", async () => {
    const { bench } = open();
    const { nap } = bench;
    const { id: container } = await bench.start({}, ["sh", "-c", "echo up; exec sleep 60"]);
    const request = { engine, container, follow: true, followRestarts: true };
    const first = new AbortController();
    const before = nap.containers.streamContainerLogs(request, { signal: first.signal });
    expect((await before.next()).value?.event.case).to.equal("ready");
    const cursor = (await before.next()).value?.cursor ?? "";
    first.abort();
    await failure(all(before));
    await nap.containers.restartContainer({ engine, container, timeout: { seconds: 0n } });
    const stream = nap.containers.streamContainerLogs({ ...request, cursor });
    const kinds: (string | undefined)[] = [];
    let last = "";
    for await (const message of stream) {
      kinds.push(message.event.case);
      last = message.cursor;
      if (message.event.case === "batch") break;
    }
    expect(kinds).to.deep.equal(["ready", "runStart", "batch"]);
    const again = nap.containers.streamContainerLogs({ ...request, cursor: last });
    expect((await again.next()).value?.event.case).to.equal("ready");
    const next = again.next();
    await nap.containers.removeContainer({ engine, container, force: true });
    expect((await next).value?.event.case).to.equal("end");
  });

  it("ends a stream whose container is removed meanwhile, and says so", async () => {
    const { bench } = open();
    const { nap } = bench;
    for (const driver of ["json-file", "local"]) {
      const command = ["sh", "-c", "while :; do echo x; sleep 0.02; done"];
      const { id: container } = await bench.start({ logConfig: { driver } }, command);
      const stream = nap.containers.streamContainerLogs({ engine, container, follow: true });
      await stream.next();
      const ended = all(stream);
      await nap.containers.removeContainer({ engine, container, force: true });
      const messages = await ended;
      expect(messages.at(-1)?.event.value).to.include({ reason: LogEndReason.REMOVED });
    }
  });

  it("refuses a cursor of another container or selection, and one beside another beginning", async () => {
    const { bench } = open();
    const { nap } = bench;
    const [one, other] = await Promise.all(
      [1, 2].map(() => bench.start({}, ["sh", "-c", "echo x; exec sleep 60"])),
    );
    const container = one?.id ?? "";
    const [first] = await eventually(async () => {
      const found = await all(nap.containers.streamContainerLogs({ engine, container }));
      return entriesOf(found).length > 0 ? found : undefined;
    });
    const cursor = first?.cursor ?? "";
    const fails = (fields: object) =>
      failure(all(nap.containers.streamContainerLogs({ engine, container, cursor, ...fields })));
    for (const fields of [
      { container: other?.id },
      { streams: [OutputStream.STDOUT] },
      { cursor: "garbage" },
    ]) {
      expect(await fails(fields)).to.include({
        code: Code.INVALID_ARGUMENT,
        reason: "CURSOR_INVALID",
      });
    }
    const both = await fails({ tailLines: 1, since: { seconds: 1n } });
    expect(both.reason).to.equal("FIELD_INVALID");
    expect(both.fields).to.deep.equal(["since", "tail_lines"]);
  });

  it("leaves no socket of 500 streams that are cancelled at once", async function () {
    this.timeout(120_000);
    const { bench, nap } = open();
    const { id: container } = await bench.start({}, ["sh", "-c", "echo up; exec sleep 600"]);
    const sockets = (): number =>
      nap.openFiles().filter((file) => file.startsWith("socket:")).length;
    const before = sockets();
    const client = new AbortController();
    const { signal } = client;
    setMaxListeners(0, signal);
    const request = { engine, container, follow: true };
    const streams = Array.from({ length: 500 }, () =>
      nap.containers.streamContainerLogs(request, { signal }),
    );
    // Behind ready comes the first batch, for which a connection to dockerd is open.
    await Promise.all(
      streams.map(async (stream) => {
        expect((await stream.next()).value?.event.case).to.equal("ready");
        expect((await stream.next()).value?.event.case).to.equal("batch");
      }),
    );
    expect(sockets()).to.be.greaterThan(before + 450);
    client.abort();
    await Promise.allSettled(streams.map((stream) => stream.next()));
    await eventually(() => (sockets() <= before + 1 ? true : undefined));
  });
}

/** StreamContainerLogs: what a container has written. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  LogEntry,
  StreamContainerLogsResponse,
} from "../../../gen/nap/v1/container_service_pb.js";
import { LogEndReason } from "../../../gen/nap/v1/container_service_pb.js";
import { OutputStream } from "../../../gen/nap/v1/types_pb.js";
import { all } from "../../support/client.js";
import type { Bench } from "../bench.js";
import { failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";

export function logCases(test: ConformanceTest): void {
  test(
    "log.gives-stream-time-and-bytes-of-each-line",
    "gives each line with its stream, its time and its bytes",
    async (bench) => {
      const { id } = await bench.run({}, "echo one; sleep 0.01; echo two >&2; printf three");
      const { entries, end } = await logs(bench, { container: id });
      expect(entries.map(text)).to.have.members(["one\n", "two\n", "three"]);
      expect(entries.find((entry) => text(entry) === "two\n")?.stream).to.equal(
        OutputStream.STDERR,
      );
      expect(entries.filter(({ partial }) => partial).map(text)).to.deep.equal(["three"]);
      for (const { time } of entries) {
        expect(timestampMs(time!)).to.be.closeTo(Date.now(), 60_000);
      }
      expect(end).to.equal(LogEndReason.COMPLETE);
    },
  );

  test(
    "log.selects-by-stream-and-tail",
    "selects by stream and by the last lines",
    async (bench) => {
      const { id: container } = await bench.run(
        {},
        "for n in 1 2 3 4; do echo $n; done; echo e >&2",
      );
      const streams = [OutputStream.STDERR];
      expect((await logs(bench, { container, streams })).entries.map(text)).to.deep.equal(["e\n"]);
      const tailed = await logs(bench, { container, streams: [OutputStream.STDOUT], tailLines: 0 });
      expect(tailed.entries).to.deep.equal([]);
      const last = (await logs(bench, { container, tailLines: 2 })).entries;
      expect(last).to.have.length(2);
    },
  );

  test(
    "log.selects-by-time-to-the-nanosecond",
    "selects by time to the nanosecond, both ends included",
    async (bench) => {
      const { id: container } = await bench.run(
        {},
        "for n in 1 2 3 4 5; do echo $n; sleep 0.02; done",
      );
      const { entries } = await logs(bench, { container });
      const [since, until] = [entries[1]?.time, entries[3]?.time];
      const some = (await logs(bench, { container, since, until })).entries;
      expect(some.map(text)).to.deep.equal(["2\n", "3\n", "4\n"]);
    },
  );

  test(
    "log.follows-until-the-container-stops",
    "follows until the container stops",
    async (bench) => {
      const script = "for n in 1 2 3; do echo $n; sleep 0.2; done";
      const { id: container } = await bench.start({}, ["sh", "-c", script]);
      const { entries, end } = await logs(bench, { container, follow: true });
      expect(entries.map(text)).to.deep.equal(["1\n", "2\n", "3\n"]);
      expect(end).to.equal(LogEndReason.STOPPED);
    },
  );

  test(
    "log.ends-following-when-its-time-has-passed",
    "ends a stream that follows when its time has passed, though nothing is written",
    async (bench) => {
      const { id: container } = await bench.start({}, ["sh", "-c", "echo one; sleep 60"]);
      const until = { seconds: BigInt(Math.ceil(Date.now() / 1000) + 1) };
      const { entries, end } = await logs(bench, { container, follow: true, until });
      expect(entries.map(text)).to.deep.equal(["one\n"]);
      expect(end).to.equal(LogEndReason.COMPLETE);
    },
  );

  test(
    "log.loses-no-byte-of-long-and-many-lines",
    "loses no byte of long lines and of 20,000 lines",
    async (bench) => {
      const script = "head -c 40000 /dev/zero | tr '\\0' y; echo; seq 20000";
      const { id: container } = await bench.run({}, script);
      const { entries } = await logs(bench, { container });
      const numbers = Array.from({ length: 20_000 }, (_, n) => `${n + 1}\n`).join("");
      expect(entries.map(text).join("")).to.equal(`${"y".repeat(40_000)}\n${numbers}`);
    },
  );

  test("log.gives-the-lines-of-a-terminal", "gives the lines of a terminal", async (bench) => {
    const { id: container } = await bench.run({ tty: true }, "echo one; echo two");
    const { entries } = await logs(bench, { container });
    expect(entries.map(text)).to.deep.equal(["one\r\n", "two\r\n"]);
  });

  test(
    "log.refuses-where-none-are-kept",
    "refuses the logs of a container that keeps none",
    async (bench) => {
      const { id: container } = await bench.run({ logConfig: { driver: "none" } }, "echo lost");
      const error = await failure(logs(bench, { container }));
      expect(error).to.include({
        code: Code.FAILED_PRECONDITION,
        reason: "LOG_DRIVER_NOT_READABLE",
      });
    },
  );
}

type Selection = Omit<Parameters<Bench["nap"]["containers"]["streamContainerLogs"]>[0], "engine">;

async function logs(
  { nap, engine }: Bench,
  selection: Selection,
): Promise<{ entries: LogEntry[]; end: LogEndReason | undefined }> {
  const seen: StreamContainerLogsResponse[] = await all(
    nap.containers.streamContainerLogs({ ...selection, engine } as Parameters<
      Bench["nap"]["containers"]["streamContainerLogs"]
    >[0]),
  );
  const entries = seen.flatMap(({ event }) => (event.case === "batch" ? event.value.entries : []));
  const last = seen.at(-1)?.event;
  return { entries, end: last?.case === "end" ? last.value.reason : undefined };
}

function text({ data }: LogEntry): string {
  return Buffer.from(data).toString();
}

/** StreamContainerStats: what containers use. */
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import type {
  ContainerStats,
  StreamContainerStatsResponse,
} from "../../../gen/nap/v1/container_service_pb.js";
import { all } from "../../support/client.js";
import type { Bench } from "../bench.js";
import { failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { skippedTicksIn, statsIn } from "../../support/batches.js";

/** Reads ticks until one has a measurement of the container that fits. The test's time bounds it. */
async function tickWith(
  { nap, engine }: Bench,
  container: string,
  fits: (stats: ContainerStats) => unknown,
): Promise<ContainerStats> {
  const filter = { ids: [container] };
  for await (const message of nap.containers.streamContainerStats({ engine, filter })) {
    const [first] = statsIn(message);
    if (first !== undefined && fits(first)) return first;
  }
  throw new Error("the stream ended");
}

export function statsCases(test: ConformanceTest): void {
  test(
    "stats.selects-by-age-id-and-excluded-labels",
    "measures the containers that are old enough, without an excluded label, and of whole ids",
    async (bench) => {
      const { nap, engine } = bench;
      const labels = { mark: bench.name("mark") };
      const old = await bench.start({ labels });
      const kept = await bench.start({ labels: { ...labels, keep: "" } });
      const measured = async (part: object): Promise<string[]> => {
        const filter = { labels: [{ key: "mark", value: labels.mark }], ...part };
        const request = { engine, filter, oneShot: true };
        const messages = await all(nap.containers.streamContainerStats(request));
        return messages.flatMap(statsIn).map(({ containerId }) => containerId);
      };
      expect(await measured({ excludedLabels: [{ key: "keep" }] })).to.deep.equal([old.id]);
      const { createTime: createdBefore } = await bench.get(kept.id);
      expect(await measured({ createdBefore })).to.deep.equal([old.id]);
      expect(await measured({ ids: [kept.id] })).to.deep.equal([kept.id]);
      expect(await measured({ ids: [kept.id.slice(0, 20)] })).to.deep.equal([]);
    },
  );

  test(
    "stats.measures-half-a-processor",
    "tells of a busy loop limited to half a processor that it uses half of one, and waits",
    async (bench) => {
      const resources = {
        cpuQuotaMicros: 50_000n,
        cpuPeriodMicros: 100_000n,
      };
      const { id } = await bench.start({ resources }, ["sh", "-c", "while :; do :; done"]);
      const stats = await tickWith(bench, id, ({ cpu }) => {
        const cores = cpu?.cpuUsageCores ?? 0;
        return cores > 0.2 && cores < 0.8 && (cpu?.throttledPeriods ?? 0n) > 0n;
      });
      expect(stats.containerId).to.equal(id);
      expect(stats.name).to.equal((await bench.get(id)).name);
      expect(Number(stats.cpu?.usage?.seconds)).to.be.at.least(0);
      expect(stats.cpu?.throttlingPeriods ?? 0n).to.satisfy((n: bigint) => n > 0n);
      expect(stats.cpu?.onlineCpus).to.be.at.least(1);
      expect(Math.abs(Number(stats.sampleTime?.seconds) - Date.now() / 1000)).to.be.below(60);
    },
  );

  test(
    "stats.measures-memory-processes-and-network",
    "measures memory, its limit, processes and network, and leaves the first tick's cores unset",
    async (bench) => {
      const memoryLimitBytes = 96n * 1024n * 1024n;
      const { id } = await bench.start({ resources: { memoryLimitBytes } });
      const { nap, engine } = bench;
      const filter = { ids: [id] };
      const first = await all(
        nap.containers.streamContainerStats({ engine, filter, oneShot: true }),
      );
      expect(first.map(({ event }) => event.case)).to.deep.equal(["ready", "batch"]);
      expect(skippedTicksIn(first[1]!)).to.equal(0);
      const before = statsIn(first[1]!)[0];
      expect(before?.cpu?.cpuUsageCores).to.equal(undefined);
      expect(before?.memory?.limitBytes).to.equal(memoryLimitBytes);
      expect(before?.pidsCount).to.equal(1n);
      // A variable of 16 MiB, three more processes, and packets to nobody.
      await bench.exec(
        id,
        "(x=$(head -c 16777216 /dev/zero | tr '\\0' x); sleep 60 & sleep 60 & sleep 60; :) >/dev/null 2>&1 & " +
          "ping -c 1 -W 1 $(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p') >/dev/null; true",
      );
      const stats = await tickWith(
        bench,
        id,
        ({ memory, pidsCount }) =>
          (memory?.anonymousBytes ?? 0n) > 16_000_000n && (pidsCount ?? 0n) >= 4n,
      );
      expect(Number(stats.memory?.usageBytes)).to.be.above(16_000_000);
      expect(Number(stats.memory?.workingSetBytes)).to.be.above(16_000_000);
      expect(Number(stats.memory?.workingSetBytes)).to.be.at.most(Number(stats.memory?.usageBytes));
      const sent = ({ networkInterfaces }: ContainerStats): number =>
        networkInterfaces.reduce((sum, { sentBytes = 0n }) => sum + Number(sentBytes), 0);
      expect(stats.networkInterfaces.map(({ name }) => name)).to.deep.equal(["eth0"]);
      expect(sent(stats)).to.be.above(sent(before!));
    },
  );

  test(
    "stats.leaves-a-missing-limit-unset",
    "leaves a limit unset that is none, and the network of a container that has none",
    async (bench) => {
      const { id } = await bench.start({
        namespaces: { network: { mode: { case: "isolated", value: {} } } },
      });
      const stats = await tickWith(bench, id, () => true);
      expect(stats.memory?.usageBytes).not.to.equal(undefined);
      expect(stats.memory?.limitBytes).to.equal(undefined);
      expect(stats.pidsLimitCount).to.equal(undefined);
      expect(stats.networkInterfaces).to.deep.equal([]);
    },
  );

  test(
    "stats.selects-by-label-at-each-tick",
    "chooses by label anew at each tick, and leaves out what stops",
    async (bench) => {
      const { nap, engine } = bench;
      const mark = bench.name("mark");
      const labels = { mark };
      const filter = { labels: [{ key: "mark", value: mark }] };
      const { id: first } = await bench.start({ labels });
      await bench.start({});
      const abort = new AbortController();
      const { signal } = abort;
      const stream = nap.containers.streamContainerStats({ engine, filter }, { signal });
      const ticksUntil = async (wanted: string[]): Promise<void> => {
        for (;;) {
          const { value } = (await stream.next()) as { value: StreamContainerStatsResponse };
          const ids = statsIn(value)
            .map(({ containerId }) => containerId)
            .toSorted();
          if (ids.join() === wanted.toSorted().join()) return;
        }
      };
      await ticksUntil([first]);
      const { id: second } = await bench.start({ labels });
      await ticksUntil([first, second]);
      await nap.containers.killContainer({ engine, container: first });
      await ticksUntil([second]);
      abort.abort();
      expect((await failure(all(stream))).code).to.equal(Code.CANCELLED);
    },
  );

  test(
    "stats.starts-anew-after-a-restart",
    "starts the cores anew after a restart",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({}, ["sh", "-c", "while :; do :; done"]);
      const filter = { ids: [container] };
      const stream = nap.containers.streamContainerStats({ engine, filter });
      const cores = async (wanted: boolean): Promise<void> => {
        for (;;) {
          const { value } = (await stream.next()) as { value: StreamContainerStatsResponse };
          const [stats] = statsIn(value);
          if (stats && (stats.cpu?.cpuUsageCores !== undefined) === wanted) return;
        }
      };
      await cores(false);
      await cores(true);
      await nap.containers.restartContainer({ engine, container, timeout: { seconds: 0n } });
      await cores(false);
      await cores(true);
      await stream.return(undefined);
    },
  );
}

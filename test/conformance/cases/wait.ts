/** WaitContainer: every condition, before and after the fact. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { WaitCondition } from "../../../gen/nap/v1/container_service_pb.js";
import type { ExitStatus } from "../../../gen/nap/v1/types_pb.js";
import { all } from "../../support/client.js";
import type { Bench } from "../bench.js";
import { eventually, failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";

const { NOT_RUNNING, NEXT_EXIT, REMOVED, HEALTHY } = WaitCondition;

export function waitCases(test: ConformanceTest): void {
  test(
    "wait.is-fulfilled-at-once-where-nothing-runs",
    "is fulfilled at once where the container does not run, also where it never did",
    async (bench) => {
      const { nap, engine } = bench;
      const { id } = await bench.create({}, ["sh", "-c", "exit 4"]);
      expect((await exitOf(bench, id, NOT_RUNNING)).code).to.equal(0);
      await nap.containers.startContainer({ engine, container: id });
      expect((await exitOf(bench, id, NOT_RUNNING)).code).to.equal(4);
      const late = await exitOf(bench, id, WaitCondition.UNSPECIFIED);
      expect(late).to.deep.equal((await bench.get(id)).exit);
    },
  );

  test(
    "wait.waits-for-the-next-exit",
    "waits for the next exit also of a container that has exited before",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({}, ["sh", "-c", "exit 4"]);
      const { finishTime } = await exitOf(bench, container, NOT_RUNNING);
      const wait = nap.containers.waitContainer({ engine, container, condition: NEXT_EXIT });
      const { value: armed } = await wait.next();
      expect(armed?.event.value).to.include({ containerId: container });
      await nap.containers.startContainer({ engine, container });
      const exited = (await wait.next()).value?.event.value as ExitStatus;
      expect(exited.code).to.equal(4);
      expect(exited.finishTime).not.to.deep.equal(finishTime);
      expect(exited).to.deep.equal((await bench.get(container)).exit);
    },
  );

  test(
    "wait.tells-many-waits-the-same-exit",
    "tells the same exit to many waits at once",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({});
      const conditions = Array.from({ length: 20 }, (_, n) => (n % 2 ? NOT_RUNNING : NEXT_EXIT));
      const waits = conditions.map((condition) =>
        nap.containers.waitContainer({ engine, container, condition }),
      );
      for (const wait of waits) await wait.next();
      await nap.containers.killContainer({ engine, container });
      const exits = await Promise.all(waits.map(async (wait) => (await wait.next()).value));
      for (const exit of exits) expect(exit?.event.value).to.include({ code: 137 });
    },
  );

  test(
    "wait.answers-after-an-auto-removal",
    "answers a wait that comes after the container was removed by itself",
    async (bench) => {
      const { nap, engine } = bench;
      const { id, name } = await bench.create({ autoRemove: true }, ["sh", "-c", "exit 9"]);
      await nap.containers.startContainer({ engine, container: id });
      await eventually(async () => {
        const listed = await nap.containers.listContainers({ engine, filter: { ids: [id] } });
        return listed.containers.length === 0 || undefined;
      });
      for (const key of [id, id.slice(0, 20), name]) {
        for (const condition of [NOT_RUNNING, REMOVED]) {
          const exit = await exitOf(bench, key, condition);
          expect(exit).to.include({ code: 9, oomKilled: false });
          expect(exit.finishTime).not.to.equal(undefined);
        }
      }
      const request = { engine, container: id, condition: NEXT_EXIT };
      const gone = await failure(all(nap.containers.waitContainer(request)));
      expect(gone.code).to.equal(Code.NOT_FOUND);
    },
  );

  test(
    "wait.says-whether-memory-ran-out",
    "says whether the kernel killed for want of memory, also of a container that is gone",
    async (bench) => {
      const { nap, engine } = bench;
      const memoryLimitBytes = 16n * 1024n * 1024n;
      const swapLimit = { case: "swapLimitBytes" as const, value: 16n * 1024n * 1024n };
      const resources = { memoryLimitBytes, swapLimit };
      const command = ["sh", "-c", "tail /dev/zero"];
      const { id: container } = await bench.create({ resources, autoRemove: true }, command);
      const wait = nap.containers.waitContainer({ engine, container, condition: REMOVED });
      await wait.next();
      await nap.containers.startContainer({ engine, container });
      const exited = (await wait.next()).value?.event.value as ExitStatus;
      expect(exited.oomKilled).to.equal(true);
      expect((await exitOf(bench, container, REMOVED)).oomKilled).to.equal(true);
    },
  );

  test(
    "wait.waits-for-a-removal",
    "waits for the removal by somebody else, and ends the other waits with it",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.create({});
      const [removed, next] = [REMOVED, NEXT_EXIT].map((condition) =>
        nap.containers.waitContainer({ engine, container, condition }),
      );
      await Promise.all([removed!.next(), next!.next()]);
      await nap.containers.removeContainer({ engine, container });
      expect((await removed!.next()).value?.event.case).to.equal("exited");
      expect((await failure(next!.next())).reason).to.equal("CONTAINER_NOT_FOUND");
    },
  );

  test(
    "wait.waits-for-health",
    "waits until the health check succeeds, and refuses where there is none",
    async (bench) => {
      const { nap, engine } = bench;
      const check = { case: "shellCommand" as const, value: "test -e /tmp/well" };
      const interval = { seconds: 0n, nanos: 100_000_000 };
      const { id: container } = await bench.create({ healthCheck: { check, interval } });
      const condition = HEALTHY;
      const wait = nap.containers.waitContainer({ engine, container, condition });
      await wait.next();
      await nap.containers.startContainer({ engine, container });
      await bench.exec(container, "touch /tmp/well");
      expect((await wait.next()).value?.event.case).to.equal("healthy");
      const again = await all(nap.containers.waitContainer({ engine, container, condition }));
      expect(again.map(({ event }) => event.case)).to.deep.equal(["ready", "healthy"]);
      const without = await bench.create({});
      const request = { engine, container: without.id, condition };
      const error = await failure(all(nap.containers.waitContainer(request)));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "NO_HEALTH_CHECK" });
    },
  );
}

/** The exit that a wait ends with. */
async function exitOf(
  { nap, engine }: Bench,
  container: string,
  condition: WaitCondition,
): Promise<ExitStatus> {
  const seen = await all(nap.containers.waitContainer({ engine, container, condition }));
  expect(seen.map(({ event }) => event.case)).to.deep.equal(["ready", "exited"]);
  return seen[1]?.event.value as ExitStatus;
}

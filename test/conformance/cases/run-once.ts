/** RunContainer with a request_id: one container, which runs once, for all calls that carry it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { ContainerState } from "../../../gen/nap/v1/container_service_pb.js";
import { DisconnectAction } from "../../../gen/nap/v1/types_pb.js";
import { all } from "../../support/client.js";
import type { Bench, SpecInit } from "../bench.js";
import { ended, eventually, failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { imageSource } from "../../support/requests/source.js";

/** How many calls are made at once. */
const callers = 8;

export function runOnceCases(test: ConformanceTest): void {
  test(
    "run.once-for-concurrent-requests",
    "runs once for many concurrent calls with one request_id, and answers all alike",
    (bench) => runOnceEach(bench, "sleep 0.2;"),
  );

  test(
    "run.once-for-a-command-that-ends-at-once",
    "runs a command that ends at once only once for many concurrent calls",
    (bench) => runOnceEach(bench, ""),
  );

  test(
    "run.once-with-auto-remove-and-later-from-memory",
    "answers many concurrent calls alike with auto_remove, and later ones from memory",
    async (bench) => {
      await runOnceEach(bench, "", { autoRemove: true });
      await runOnceEach(bench, "sleep 0.2;", { autoRemove: true });
    },
  );

  test(
    "run.once-gives-all-of-a-large-output",
    "gives concurrent calls with one request_id all of a large output, also with auto_remove",
    async (bench) => {
      const script = "head -c 3000000 /dev/zero | tr '\\0' x; echo end; sleep 1";
      const { nap, engine, image } = bench;
      for (const autoRemove of [false, true]) {
        const spec = {
          source: imageSource(image),
          command: { arguments: ["sh", "-c", script] },
          autoRemove,
        };
        const request = { engine, spec, requestId: bench.name("request") };
        const run = async () => ended(await all(nap.containers.runContainer(request)));
        const answers = await Promise.all([run(), run(), run()]);
        for (const { id, stdout, exit } of answers) {
          bench.forget(id);
          expect(stdout.length).to.equal(3_000_004);
          expect(stdout.endsWith("xend\n")).to.equal(true);
          expect(exit?.code).to.equal(0);
        }
        if (!autoRemove) expect(await run()).to.deep.equal(answers[0]);
        // It is not kept as a whole, and the container is gone with its log.
        else expect((await failure(run())).reason).to.equal("CONTAINER_NOT_FOUND");
      }
    },
  );

  test(
    "run.once-keeps-many-lines",
    "keeps the output of a container with auto_remove for later calls, also of many short lines",
    async (bench) => {
      const { nap, engine, image } = bench;
      const spec = {
        source: imageSource(image),
        command: { arguments: ["sh", "-c", "seq 1 20000; exit 3"] },
        autoRemove: true,
      };
      const request = { engine, spec, requestId: bench.name("request") };
      const run = async () => ended(await all(nap.containers.runContainer(request)));
      const first = await run();
      expect(first.stdout.length).to.equal(108_894);
      expect(await run()).to.deep.equal(first);
    },
  );

  test(
    "run.once-refuses-a-missing-command-to-all",
    "tells all of many concurrent calls that the command does not exist, and leaves nothing",
    async (bench) => {
      const { nap, engine, image } = bench;
      for (const autoRemove of [false, true]) {
        const [requestId, name] = [bench.name("request"), bench.name("absent")];
        const spec = {
          source: imageSource(image),
          command: { arguments: ["no-such-command"] },
          autoRemove,
        };
        const request = { engine, name, spec, requestId };
        const calls = Array.from({ length: callers }, async () =>
          failure(all(nap.containers.runContainer(request))),
        );
        for (const { reason } of await Promise.all(calls)) {
          expect(reason).to.equal("COMMAND_NOT_FOUND");
        }
        const again = await failure(all(nap.containers.runContainer(request)));
        expect(again.reason).to.equal("COMMAND_NOT_FOUND");
        const gone = await failure(nap.containers.getContainer({ engine, container: name }));
        expect(gone.reason).to.equal("CONTAINER_NOT_FOUND");
      }
    },
  );

  test(
    "run.once-starts-what-a-call-left-created",
    "starts by a repeated call what a call with its request_id left created",
    async (bench) => {
      const { nap, engine, image } = bench;
      for (let millis = 0; millis < 200; millis += 20) {
        const requestId = bench.name("request");
        const file = join(bench.hostDirectory, requestId);
        const { mounts, script } = counting(bench, requestId, "sleep 0.05;");
        const spec = {
          source: imageSource(image),
          command: { arguments: ["sh", "-c", script] },
          mounts,
        };
        const client = new AbortController();
        const { signal } = client;
        const cut = all(nap.containers.runContainer({ engine, spec, requestId }, { signal }));
        setTimeout(() => client.abort(), millis);
        await cut.catch(() => undefined);
        const { id, stdout, exit } = ended(
          await all(nap.containers.runContainer({ engine, spec, requestId })),
        );
        bench.forget(id);
        expect(stdout).to.match(/^run [0-9a-f-]{36}\n$/);
        expect(exit?.code).to.equal(3);
        expect(readFileSync(file, "utf8")).to.equal(stdout);
      }
    },
  );

  test(
    "run.once-kills-when-the-last-caller-is-gone",
    "kills a container that calls share when the last of them is cancelled, not before",
    async (bench) => {
      const { nap, engine, image } = bench;
      const requestId = bench.name("request");
      const spec = {
        source: imageSource(image),
        command: { arguments: ["sh", "-c", "echo up; exec sleep 60"] },
      };
      const request = { engine, spec, requestId, disconnectAction: DisconnectAction.KILL };
      const clients = [new AbortController(), new AbortController()];
      let id = "";
      let heard = 0;
      const calls = clients.map(async ({ signal }) => {
        for await (const { event } of nap.containers.runContainer(request, { signal })) {
          if (event.case === "created") id = event.value.containerId;
          if (event.case === "output") heard++;
        }
      });
      for (const call of calls) call.catch(() => undefined);
      await eventually(() => heard === clients.length || undefined);
      clients[0]?.abort();
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect((await bench.get(id)).state).to.equal(ContainerState.RUNNING);
      clients[1]?.abort();
      const exit = await eventually(async () => (await bench.get(id)).exit);
      expect(exit.code).to.equal(137);
      await Promise.allSettled(calls);
    },
  );
}

/** A script that notes each of its runs in a file of the host, and says what it noted. */
export function counting(bench: Bench, name: string, pause: string) {
  writeFileSync(join(bench.hostDirectory, name), "");
  const origin = { case: "hostPath" as const, value: join(bench.hostDirectory, name) };
  const mounts = [{ target: "/runs", source: { case: "bind" as const, value: { origin } } }];
  const note = 'line="run $(cat /proc/sys/kernel/random/uuid)"; echo $line >>/runs; echo $line;';
  return { mounts, script: `${note} ${pause} exit 3` };
}

/** The answers of calls with one request_id that are made at the same time. */
async function runTogether(bench: Bench, spec: SpecInit, command: string[], count: number) {
  const { nap, engine, image } = bench;
  const requestId = bench.name("request");
  const whole = { source: imageSource(image), command: { arguments: command }, ...spec };
  const request = { engine, spec: whole, requestId } as Parameters<
    typeof nap.containers.runContainer
  >[0];
  const run = async () => all(nap.containers.runContainer(request));
  const answers = await Promise.all(Array.from({ length: count }, run));
  answers.push(await run(), await run());
  bench.forget(ended(answers[0] ?? []).id);
  return answers;
}

async function runOnceEach(bench: Bench, pause: string, spec: SpecInit = {}): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const name = bench.name("runs");
    const { mounts, script } = counting(bench, name, pause);
    const answers = await runTogether(bench, { mounts, ...spec }, ["sh", "-c", script], callers);
    const runs = readFileSync(join(bench.hostDirectory, name), "utf8");
    expect(runs).to.match(/^run [0-9a-f-]{36}\n$/);
    const [first] = answers.map(ended);
    for (const answer of answers) {
      const cases = answer.map(({ event }) => event.case);
      expect(cases).to.deep.equal(["created", "started", "output", "exit"]);
      const { id, stdout, stderr, exit } = ended(answer);
      expect({ id, stdout, stderr }).to.deep.equal({ id: first?.id, stdout: runs, stderr: "" });
      expect(exit).to.deep.equal(first?.exit);
      expect(exit?.code).to.equal(3);
    }
  }
}

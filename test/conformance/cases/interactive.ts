/** ExecContainer and AttachContainer: input and output of a process as streams. */
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { ContainerState } from "../../../gen/nap/v1/container_service_pb.js";
import { DisconnectAction } from "../../../gen/nap/v1/types_pb.js";
import { Interaction } from "../../support/interaction.js";
import type { Bench, SpecInit } from "../bench.js";
import { eventually, failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";

export function interactiveCases(test: ConformanceTest): void {
  test(
    "interactive.exec-streams-started-output-and-exit",
    "streams started, output and exit of a command, its two outputs apart",
    async (bench) => {
      const target = await running(bench);
      const call = Interaction.script(target, "echo out; echo err >&2; exit 7");
      const first = await call.next();
      expect(first?.case).to.equal("started");
      expect(call.execId).not.to.equal("");
      await call.ended();
      expect(call.stdout).to.equal("out\n");
      expect(call.stderr).to.equal("err\n");
      expect(call.exit?.code).to.equal(7);
    },
  );

  test(
    "interactive.exec-takes-input-and-its-end",
    "hands a command its input, and its end by close_stdin or by the end of the requests",
    async (bench) => {
      const target = await running(bench);
      const script = "cat; echo; sleep 0.1; echo after";
      const closing = Interaction.script(target, script, { stdin: true }).write("one").closeStdin();
      expect((await closing.ended()).stdout).to.equal("one\nafter\n");
      expect(closing.exit?.code).to.equal(0);
      const halved = Interaction.script(target, script, { stdin: true }).write("two").half();
      expect((await halved.ended()).stdout).to.equal("two\nafter\n");
      const none = Interaction.script(target, script).half();
      expect((await none.ended()).stdout).to.equal("\nafter\n");
    },
  );

  test(
    "interactive.exec-carries-64-mib-both-ways",
    "brings 64 MiB through a command and back unchanged, both sides slow in turn",
    async (bench) => {
      const { nap, engine, container } = await running(bench);
      const block = randomBytes(1024 * 1024);
      const [sent, received] = [createHash("sha256"), createHash("sha256")];
      const open = { engine, container, exec: { command: ["cat"] }, stdin: true };
      const requests = async function* () {
        yield { payload: { case: "open" as const, value: open } };
        for (let n = 0; n < 64; n++) {
          block.writeUInt32BE(n);
          const value = new Uint8Array(block);
          sent.update(value);
          yield { payload: { case: "stdin" as const, value } };
          if (n % 16 === 0) await delay(100);
        }
        yield { payload: { case: "closeStdin" as const, value: {} } };
      };
      let bytes = 0;
      let pause = 8 * 1024 * 1024;
      let code: number | undefined;
      for await (const { event } of nap.containers.execContainer(requests())) {
        if (event.case === "exit") code = event.value.code;
        if (event.case !== "output") continue;
        for (const { data } of event.value.chunks) {
          bytes += data.length;
          received.update(data);
        }
        if (bytes > pause) {
          pause += 16 * 1024 * 1024;
          await delay(100);
        }
      }
      expect(bytes).to.equal(64 * 1024 * 1024);
      expect(received.digest("hex")).to.equal(sent.digest("hex"));
      expect(code).to.equal(0);
    },
  );

  test(
    "interactive.exec-has-a-terminal-with-a-size",
    "gives a command a terminal with its size, and other sizes later",
    async (bench) => {
      const target = await running(bench);
      const script = "while read -r line; do stty size; done";
      const open = { stdin: true, terminalSize: { columns: 91, rows: 31 } };
      const call = Interaction.script(target, script, open, true).write("a\n");
      await call.until("31 91");
      call.send({ case: "resize", value: { columns: 92, rows: 32 } }).write("b\n");
      await call.until("32 92");
      const { nap, engine, container } = target;
      const size = { columns: 93, rows: 33 };
      const { execId } = call;
      await nap.containers.resizeContainerTerminal({ engine, container, execId, size });
      await call.write("c\n").until("33 93");
      // The end of input that a terminal knows.
      call.write("\x04");
      expect((await call.ended()).exit?.code).to.equal(0);
    },
  );

  test(
    "interactive.exec-brings-every-key-to-the-terminal",
    "brings every key to a terminal at once, also those by which engines detach",
    async (bench) => {
      const target = await running(bench);
      const script = "stty raw -echo; echo ready; head -c 1 | od -An -tx1; head -c 1 | od -An -tx1";
      const call = Interaction.script(target, script, { stdin: true }, true);
      await call.until("ready");
      await call.write("\x10").until("10");
      await call.write("\x11").until("11");
      expect((await call.ended()).exit?.code).to.equal(0);
    },
  );

  test(
    "interactive.exec-refuses-what-it-cannot-take",
    "refuses what a command cannot take, with the field's path",
    async (bench) => {
      const target = await running(bench);
      const cat = (open = {}) => Interaction.script(target, "cat", open);
      const size = { columns: 80, rows: 24 };
      const sized = { stdin: true, terminalSize: size };
      for (const [call, field] of [
        [cat({ stdin: true }).send({ case: "resize", value: size }), "resize"],
        [cat(sized), "open.terminal_size"],
        [Interaction.script(target, "sleep 60").write("x"), "stdin"],
        [cat({ stdin: true }).closeStdin().write("x"), "stdin"],
        [
          cat({ stdin: true }).send({ case: "open", value: { exec: { command: ["true"] } } }),
          "open",
        ],
      ] as const) {
        const error = await failure(call.ended());
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
        expect(error.fields).to.deep.equal([field]);
      }
    },
  );

  test(
    "interactive.exec-refuses-a-command-that-cannot-run",
    "refuses a command that cannot run with a status, and a real 126 or 127 with none",
    async (bench) => {
      const target = await running(bench);
      for (const [command, reason] of [
        ["no-such-command", "COMMAND_NOT_FOUND"],
        ["/etc/not-executable", "COMMAND_NOT_EXECUTABLE"],
      ] as const) {
        for (const tty of [false, true]) {
          const call = Interaction.exec(target, { exec: { command: [command], tty }, stdin: true });
          const error = await failure(call.ended());
          expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason });
          expect(call.stdout + call.stderr + call.execId).to.equal("");
        }
      }
      for (const code of [126, 127]) {
        const call = Interaction.script(target, `echo no-such-command; exit ${code}`);
        expect((await call.ended()).exit?.code).to.equal(code);
      }
      const { id: container } = await bench.create({});
      const stopped = await failure(Interaction.script({ ...target, container }, "true").ended());
      expect(stopped.reason).to.equal("CONTAINER_NOT_RUNNING");
    },
  );

  test(
    "interactive.exec-signals-its-command-alone",
    "signals a command, and no other",
    async (bench) => {
      const target = await running(bench);
      const script = (name: string) =>
        `trap 'echo ${name} USR1' USR1; trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done`;
      const [one, two] = [
        Interaction.script(target, script("1")),
        Interaction.script(target, script("2")),
      ];
      await one.until("up");
      await two.until("up");
      await one.send({ case: "signal", value: "SIGUSR1" }).until("1 USR1");
      one.send({ case: "signal", value: "15" });
      expect((await one.ended()).exit?.code).to.equal(3);
      two.send({ case: "signal", value: "KILL" });
      expect((await two.ended()).exit?.code).to.equal(137);
      expect(two.stdout).to.equal("up\n");
      const none = Interaction.script(target, "sleep 60").send({
        case: "signal",
        value: "SIGNONE",
      });
      expect((await failure(none.ended())).fields).to.deep.equal(["signal"]);
    },
  );

  test(
    "interactive.exec-ends-while-its-client-still-sends",
    "ends with the exit of a command while its client still sends",
    async (bench) => {
      const target = await running(bench);
      const call = Interaction.script(target, "head -c 3; exit 5", { stdin: true });
      for (let n = 0; n < 64; n++) call.write("x".repeat(65_536));
      await call.ended();
      expect(call.stdout).to.equal("xxx");
      expect(call.exit?.code).to.equal(5);
    },
  );

  test(
    "interactive.exec-goes-on-after-a-detach",
    "leaves a command running whose client detaches",
    async (bench) => {
      const target = await running(bench);
      const script = "echo up; while [ ! -e /go ]; do sleep 0.05; done; touch /done";
      const call = await Interaction.script(target, script).until("up");
      call.cancel();
      expect((await failure(call.ended())).code).to.equal(Code.CANCELLED);
      await bench.exec(target.container, "touch /go");
      await eventually(async () => bench.exec(target.container, "ls /").then(has("done")));
    },
  );

  test(
    "interactive.exec-is-killed-on-disconnect",
    "kills a command whose client goes away, and what it started",
    async (bench) => {
      const target = await running(bench);
      const disconnectAction = DisconnectAction.KILL;
      const script = "sleep 301 & setsid sleep 302 & (sleep 303 &); sleep 304 & echo up; wait";
      const call = await Interaction.script(target, script, { disconnectAction }).until("up");
      const processes = () => bench.exec(target.container, "ps -o args");
      expect(await processes()).to.include("sleep 304");
      call.cancel();
      await failure(call.ended());
      await eventually(async () => !/sleep 30\d/.test(await processes()) || undefined);
      expect(await processes()).to.include("sleep 60");
    },
  );

  test(
    "interactive.exec-sync-is-killed-on-cancel-if-asked",
    "kills a command whose waiting call is cancelled, if asked to",
    async (bench) => {
      const { nap, engine, container } = await running(bench);
      const client = new AbortController();
      const exec = { command: ["sh", "-c", "touch /up; sleep 305; touch /late"] };
      const request = { engine, container, exec, disconnectAction: DisconnectAction.KILL };
      const call = failure(nap.containers.execContainerSync(request, { signal: client.signal }));
      call.catch(() => undefined);
      const refused = call.then(() => undefined);
      await Promise.race([
        refused,
        eventually(async () => bench.exec(container, "ls /").then(has("up"))),
      ]);
      client.abort();
      expect((await call).code).to.equal(Code.CANCELLED);
      const processes = () => bench.exec(container, "ps -o args");
      await eventually(async () => !(await processes()).includes("sleep 305") || undefined);
      expect(await bench.exec(container, "ls /")).not.to.include("late");
    },
  );

  test(
    "interactive.attach-before-the-start-loses-no-byte",
    "loses no byte of a container that it was attached to before the start",
    async (bench) => {
      const script = "echo first; echo err >&2; exit 6";
      const target = await created(bench, {}, ["sh", "-c", script]);
      const call = await Interaction.attach(target, {}).begun();
      await start(target);
      await call.ended();
      expect(call.stdout).to.equal("first\n");
      expect(call.stderr).to.equal("err\n");
      expect(call.exit?.code).to.equal(6);
    },
  );

  test(
    "interactive.attach-hands-on-input-and-its-end",
    "attaches the input of a container, and tells it the end",
    async (bench) => {
      const target = await created(bench, { stdinOpen: true, stdinOnce: true }, ["cat"]);
      const call = await Interaction.attach(target, { stdin: true }).begun();
      await start(target);
      await call.write("there\n").until("there\n");
      call.write("and back\n").closeStdin();
      expect((await call.ended()).stdout).to.equal("there\nand back\n");
      expect(call.exit?.code).to.equal(0);
    },
  );

  test(
    "interactive.attach-leaves-the-container-after-a-detach",
    "leaves a container and its input open when a client detaches",
    async (bench) => {
      const target = await created(bench, { stdinOpen: true }, ["cat"]);
      await start(target);
      const first = await Interaction.attach(target, { stdin: true }).begun();
      await first.write("one\n").until("one\n");
      first.closeStdin();
      first.cancel();
      await failure(first.ended());
      const second = await Interaction.attach(target, { stdin: true }).begun();
      await second.write("two\n").until("two\n");
      expect(second.stdout).to.equal("two\n");
      expect((await bench.get(target.container)).state).to.equal(ContainerState.RUNNING);
      second.send({ case: "signal", value: "SIGKILL" });
      expect((await second.ended()).exit?.code).to.equal(137);
    },
  );

  test(
    "interactive.attach-replays-once-and-goes-on",
    "replays what a container has written, once, and goes on with what it writes",
    async (bench) => {
      const script = "echo early; while read -r line; do echo got $line; done; exit 2";
      const target = await created(bench, { stdinOpen: true }, ["sh", "-c", script]);
      await start(target);
      await eventually(() => loggedBy(bench, target.container, "early"));
      const call = await Interaction.attach(target, { stdin: true, replay: true }).begun();
      await call.write("x\n").until("got x\n");
      expect(call.stdout).to.equal("early\ngot x\n");
      call.send({ case: "signal", value: "KILL" });
      expect((await call.ended()).exit?.code).to.equal(137);
      const again = await Interaction.attach(target, { stdin: true, replay: true }).begun();
      await start(target);
      await again.write("y\n").until("got y\n");
      expect(again.stdout).to.equal("early\ngot x\nearly\ngot y\n");
    },
  );

  test(
    "interactive.attach-sizes-the-terminal",
    "gives a container's terminal the size asked for before its start, and others later",
    async (bench) => {
      const script = "while read -r line; do stty size; done";
      const target = await created(bench, { stdinOpen: true, tty: true }, ["sh", "-c", script]);
      const terminalSize = { columns: 71, rows: 21 };
      const call = await Interaction.attach(target, { stdin: true, terminalSize }).begun();
      await start(target);
      const asking = setInterval(() => call.write("a\n"), 50);
      try {
        await call.until("21 71");
      } finally {
        clearInterval(asking);
      }
      call.send({ case: "resize", value: { columns: 72, rows: 22 } }).write("b\n");
      await call.until("22 72");
    },
  );

  test(
    "interactive.attach-kills-on-disconnect-if-asked",
    "kills a container whose client goes away, if asked to",
    async (bench) => {
      const target = await running(bench);
      const disconnectAction = DisconnectAction.KILL;
      const call = await Interaction.attach(target, { disconnectAction }).begun();
      call.cancel();
      await failure(call.ended());
      const { exit } = await eventually(async () => {
        const found = await bench.get(target.container);
        return found.state === ContainerState.EXITED ? found : undefined;
      });
      expect(exit?.code).to.equal(137);
    },
  );

  test(
    "interactive.attach-refuses-input-where-there-is-none",
    "refuses to attach the input of a container that has none",
    async (bench) => {
      const target = await running(bench);
      const error = await failure(Interaction.attach(target, { stdin: true }).ended());
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(error.fields).to.deep.equal(["open.stdin"]);
      const unasked = Interaction.attach(target, {}).write("x");
      expect((await failure(unasked.ended())).fields).to.deep.equal(["stdin"]);
      const nameless = Interaction.attach({ ...target, container: "" }, {});
      expect((await failure(nameless.ended())).fields).to.deep.equal(["open.container"]);
    },
  );
}

type InteractionTarget = Parameters<typeof Interaction.attach>[0];

function targetOf({ nap, engine }: Bench) {
  return ({ id: container }: { id: string }): InteractionTarget => ({ nap, engine, container });
}

async function running(bench: Bench): Promise<InteractionTarget> {
  return bench.start({}).then(targetOf(bench));
}

async function created(bench: Bench, spec: SpecInit, command: string[]) {
  return bench.create(spec, command).then(targetOf(bench));
}

async function start({ nap, engine, container }: InteractionTarget): Promise<void> {
  await nap.containers.startContainer({ engine, container });
}

/** True where a text has this, else undefined. */
function has(text: string): (all: string) => true | undefined {
  return (all) => all.includes(text) || undefined;
}

async function loggedBy({ nap, engine }: Bench, container: string, text: string) {
  for await (const { event } of nap.containers.streamContainerLogs({ engine, container })) {
    if (event.case !== "batch") continue;
    const all = event.value.entries.map(({ data }) => Buffer.from(data).toString());
    if (all.join("").includes(text)) return true;
  }
  return undefined;
}

/** Input and output as streams: what is true of Docker alone. */
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { DisconnectAction } from "../../gen/nap/v1/types_pb.js";
import { eventually } from "../conformance/bench.js";
import { all, failure } from "../support/client.js";
import { Interaction } from "../support/interaction.js";
import { startNap } from "../support/engines/nap.js";
import type { DockerBench } from "./cases.js";
import { forward } from "./transports.js";

/** Declares the cases. `open` gives their bench when the tests run. */
export function interactiveDockerCases(open: () => DockerBench): void {
  it("leaves no process or socket of 40 commands cancelled at once", async function () {
    this.timeout(120_000);
    const { nap, bench } = open();
    const { id: container } = await bench.start({});
    const target = { nap, engine: "docker", container };
    const sockets = () => nap.openFiles().filter((file) => file.startsWith("socket:")).length;
    const before = sockets();
    const disconnectAction = DisconnectAction.KILL;
    const calls = Array.from({ length: 40 }, () =>
      Interaction.script(target, "echo up; sleep 310", { stdin: true, disconnectAction }),
    );
    await Promise.all(calls.map((call) => call.until("up")));
    for (const call of calls) call.cancel();
    for (const call of calls) expect((await failure(call.ended())).code).to.equal(Code.CANCELLED);
    const end = Date.now() + 60_000;
    for (;;) {
      const left = await bench.exec(container, "ps -o args | grep -c '[s]leep 310' || true");
      if (left === "0" && sockets() <= before) break;
      if (Date.now() > end)
        throw new Error(`${left} processes, ${sockets() - before} sockets left`);
    }
  });

  it("tells the process id of a command on the host", async () => {
    const { nap, bench, dockerd } = open();
    const { id: container } = await bench.start({});
    const call = Interaction.script({ nap, engine: "docker", container }, "exec sleep 311");
    await call.begun();
    const root = `/proc/${dockerd.initPid}/root/proc`;
    const commandLine = await eventually(() => {
      const text = readFileSync(join(root, String(call.pid), "cmdline"), "utf8");
      return text.startsWith("sleep") ? text : undefined;
    });
    expect(commandLine).to.equal("sleep\u0000311\u0000");
    call.cancel();
    await failure(call.ended());
  });

  it("refuses to signal or kill a command on an engine on another host, which goes on", async () => {
    const { dockerd, bench } = open();
    const { id: container } = await bench.start({});
    const proxy = await forward(dockerd.socket);
    const directory = mkdtempSync(join(dockerd.directory, "other-host-"));
    const engines = { far: { driver: "docker", url: `tcp://127.0.0.1:${proxy.port}` } };
    const nap = await startNap(directory, { engines });
    try {
      const target = { nap, engine: "far", container };
      const call = await Interaction.script(target, "echo up; sleep 312").until("up");
      call.send({ case: "signal", value: "KILL" });
      const refused = { code: Code.INVALID_ARGUMENT, reason: "FIELD_UNSUPPORTED" };
      const signalled = await failure(call.ended());
      expect(signalled).to.include(refused);
      expect(signalled.fields).to.deep.equal(["signal"]);
      expect(await bench.exec(container, "ps -o args")).to.include("sleep 312");
      const disconnectAction = DisconnectAction.KILL;
      const killing = await failure(
        Interaction.script(target, "true", { disconnectAction }).ended(),
      );
      expect(killing).to.include(refused);
      expect(killing.fields).to.deep.equal(["open.disconnect_action"]);
      const exec = { command: ["true"] };
      const sync = { engine: "far", container, exec, disconnectAction };
      const waiting = await failure(nap.containers.execContainerSync(sync));
      expect(waiting.fields).to.deep.equal(["disconnect_action"]);
      const attached = await Interaction.attach(target, { disconnectAction }).begun();
      attached.send({ case: "signal", value: "KILL" });
      expect((await attached.ended()).exit?.code).to.equal(137);
    } finally {
      await nap.stop();
      await proxy.close();
    }
  });

  it("gives the exit of a container with auto_remove that it was attached to", async () => {
    const { nap, bench } = open();
    const { id: container } = await bench.create({ autoRemove: true }, [
      "sh",
      "-c",
      "echo x; exit 4",
    ]);
    const call = Interaction.attach({ nap, engine: "docker", container }, {});
    await call.begun();
    await nap.containers.startContainer({ engine: "docker", container });
    await call.ended();
    expect(call.stdout).to.equal("x\n");
    expect(call.exit?.code).to.equal(4);
  });

  it("refuses a resize of a command that is not there, not its own, or has no terminal", async () => {
    const { nap, bench } = open();
    const { id: container } = await bench.start({});
    const { id: other } = await bench.start({});
    const engine = "docker";
    const call = Interaction.script({ nap, engine, container }, "cat", { stdin: true });
    await call.begun();
    const size = { columns: 80, rows: 24 };
    for (const [request, reason] of [
      [{ container, execId: "0".repeat(64) }, "EXEC_NOT_FOUND"],
      [{ container: other, execId: call.execId }, "EXEC_NOT_FOUND"],
      [{ container, execId: call.execId }, "NO_TERMINAL"],
    ] as const) {
      const resize = nap.containers.resizeContainerTerminal({ engine, size, ...request });
      expect((await failure(resize)).reason).to.equal(reason);
    }
    expect((await call.half().ended()).exit?.code).to.equal(0);
  });

  it("answers other calls while a command waits for a client that does not read", async () => {
    const { nap, bench } = open();
    const { id: container } = await bench.start({});
    const engine = "docker";
    const disconnectAction = DisconnectAction.KILL;
    const call = await Interaction.script({ nap, engine, container }, "yes", {
      disconnectAction,
    }).begun();
    await call.until("y\n");
    expect(
      (await all(nap.containers.execContainer(quick(engine, container)))).at(-1)?.event.case,
    ).to.equal("exit");
    call.cancel();
    await failure(call.ended());
  });
}

function* quick(engine: string, container: string) {
  const value = { engine, container, exec: { command: ["true"] } };
  yield { payload: { case: "open" as const, value } };
}

/** RunContainer: create, start, output and exit in one stream. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { ContainerState } from "../../../gen/nap/v1/container_service_pb.js";
import { DisconnectAction, OutputStream } from "../../../gen/nap/v1/types_pb.js";
import { all } from "../../support/client.js";
import type { Bench } from "../bench.js";
import { ended, eventually, failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { imageSource } from "../../support/requests/source.js";

export function runCases(test: ConformanceTest): void {
  test(
    "run.streams-events-in-order",
    "streams created, started, output and exit, in this order",
    async ({ nap, engine, image, ...bench }) => {
      void bench;
      const spec = {
        source: imageSource(image),
        command: { arguments: ["echo", "hello"] },
        autoRemove: true,
      };
      const seen = await all(nap.containers.runContainer({ engine, spec }));
      expect(seen.map(({ event }) => event.case)).to.deep.equal([
        "created",
        "started",
        "output",
        "exit",
      ]);
      expect(ended(seen)).to.deep.include({ stdout: "hello\n", stderr: "" });
      expect(ended(seen).exit).to.include({ code: 0 });
    },
  );

  test(
    "run.keeps-streams-apart",
    "keeps stdout and stderr apart and reports the exit code",
    async (bench) => {
      const { stdout, stderr, exit } = await bench.run({}, "echo out; echo err >&2; exit 3");
      expect({ stdout, stderr, code: exit?.code }).to.deep.equal({
        stdout: "out\n",
        stderr: "err\n",
        code: 3,
      });
    },
  );

  test(
    "run.gives-terminal-output-as-one-stream",
    "gives the output of a terminal as one stream",
    async (bench) => {
      const { stdout, stderr } = await bench.run({ tty: true }, "echo out; echo err >&2; tty");
      expect(stdout).to.equal("out\r\nerr\r\n/dev/pts/0\r\n");
      expect(stderr).to.equal("");
    },
  );

  test(
    "run.loses-no-output-to-a-slow-client",
    "loses nothing of 8 MiB of output, to a client that reads slowly",
    async (bench) => {
      const { nap, engine, image } = bench;
      const script = "head -c 8388608 /dev/zero | tr '\\0' x; echo end";
      const spec = {
        source: imageSource(image),
        command: { arguments: ["sh", "-c", script] },
        autoRemove: true,
      };
      let bytes = 0;
      let last = Buffer.alloc(0);
      for await (const { event } of nap.containers.runContainer({ engine, spec })) {
        if (event.case !== "output") continue;
        for (const { data } of event.value.chunks) {
          bytes += data.length;
          last = Buffer.concat([last, data]).subarray(-5);
        }
        if (bytes < 1_000_000) await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(bytes).to.equal(8_388_608 + 4);
      expect(last.toString()).to.equal("xend\n");
    },
  );

  test(
    "run.refuses-a-missing-command",
    "refuses a command that does not exist, and leaves no container",
    async (bench) => {
      const { nap, engine, image } = bench;
      const name = bench.name("absent");
      const spec = { source: imageSource(image), command: { arguments: ["no-such-command"] } };
      const error = await failure(all(nap.containers.runContainer({ engine, name, spec })));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "COMMAND_NOT_FOUND" });
      const gone = await failure(nap.containers.getContainer({ engine, container: name }));
      expect(gone.reason).to.equal("CONTAINER_NOT_FOUND");
    },
  );

  test(
    "run.refuses-a-file-that-is-not-executable",
    "refuses a file that cannot be executed, also with auto_remove",
    async (bench) => {
      const { nap, engine, image } = bench;
      const name = bench.name("plain");
      const command = { arguments: ["/etc/not-executable"] };
      const spec = { source: imageSource(image), command, autoRemove: true };
      const error = await failure(all(nap.containers.runContainer({ engine, name, spec })));
      expect(error).to.include({
        code: Code.FAILED_PRECONDITION,
        reason: "COMMAND_NOT_EXECUTABLE",
      });
      const gone = await failure(nap.containers.getContainer({ engine, container: name }));
      expect(gone.reason).to.equal("CONTAINER_NOT_FOUND");
    },
  );

  test(
    "run.leaves-the-container-running-on-disconnect",
    "leaves the container running when the client goes away",
    async (bench) => {
      const id = await runAndLeave(bench, DisconnectAction.UNSPECIFIED);
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect((await bench.get(id)).state).to.equal(ContainerState.RUNNING);
    },
  );

  test(
    "run.kills-the-container-on-disconnect-if-asked",
    "kills the container when the client goes away, if asked to",
    async (bench) => {
      const id = await runAndLeave(bench, DisconnectAction.KILL);
      const { exit } = await eventually(async () => {
        const container = await bench.get(id);
        return container.state === ContainerState.EXITED ? container : undefined;
      });
      expect(exit?.code).to.equal(137);
    },
  );

  test(
    "run.replays-a-repeated-request",
    "gives a repeated call with its request_id the same container and all its output",
    async (bench) => {
      const { nap, engine, image } = bench;
      const requestId = bench.name("request");
      const spec = {
        source: imageSource(image),
        command: { arguments: ["sh", "-c", "echo once; exit 4"] },
      };
      const first = ended(await all(nap.containers.runContainer({ engine, spec, requestId })));
      bench.forget(first.id);
      const second = ended(await all(nap.containers.runContainer({ engine, spec, requestId })));
      expect(second.id).to.equal(first.id);
      expect(second.stdout).to.equal("once\n");
      expect(second.exit?.code).to.equal(4);
    },
  );
}

async function runAndLeave(bench: Bench, disconnectAction: DisconnectAction) {
  const { nap, engine, image } = bench;
  const client = new AbortController();
  const spec = {
    source: imageSource(image),
    command: { arguments: ["sh", "-c", "echo up; exec sleep 60"] },
  };
  const events = nap.containers.runContainer(
    { engine, spec, disconnectAction },
    { signal: client.signal },
  );
  let id = "";
  try {
    for await (const { event } of events) {
      if (event.case === "created") bench.forget((id = event.value.containerId));
      if (event.case === "output" && event.value.chunks[0]?.stream === OutputStream.STDOUT) {
        client.abort();
      }
    }
  } catch {
    // The call ends as cancelled.
  }
  expect(client.signal.aborted).to.equal(true);
  return id;
}

/** ExecContainerSync: a command in a container that runs. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import type { Bench } from "../bench.js";
import { failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";

export function execCases(test: ConformanceTest): void {
  test(
    "exec.gives-output-and-exit-code",
    "gives stdout, stderr and the exit code of a command",
    async (bench) => {
      const { id: container } = await bench.start({});
      const done = await exec(bench, container, ["sh", "-c", "echo out; echo err >&2; exit 9"]);
      expect(Buffer.from(done.stdout).toString()).to.equal("out\n");
      expect(Buffer.from(done.stderr).toString()).to.equal("err\n");
      expect(done.exit?.code).to.equal(9);
    },
  );

  test(
    "exec.takes-user-directory-environment-and-input",
    "runs as a user, in a directory, with variables and with input",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({});
      const done = await nap.containers.execContainerSync({
        engine,
        container,
        stdin: Buffer.from("input"),
        exec: {
          command: ["sh", "-c", "id -un; pwd; echo $A; cat"],
          user: "app",
          workingDir: "/data",
          environment: { A: "b=c" },
        },
      });
      expect(Buffer.from(done.stdout).toString()).to.equal("app\n/data\nb=c\ninput");
    },
  );

  test(
    "exec.limits-output-and-says-so",
    "keeps as much output as asked for and says that there was more",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({});
      const done = await nap.containers.execContainerSync({
        engine,
        container,
        exec: { command: ["sh", "-c", "head -c 3000000 /dev/zero; echo e >&2"] },
        maxOutputBytes: 1000,
      });
      expect(done.stdout).to.have.length(1000);
      expect(done).to.include({ stdoutTruncated: true, stderrTruncated: false });
      expect(done.exit?.code).to.equal(0);
    },
  );

  test(
    "exec.tells-a-missing-command-from-exit-126-and-127",
    "tells a command that does not exist from one that exits with 126 or 127",
    async (bench) => {
      const { id: container } = await bench.start({});
      const absent = await failure(exec(bench, container, ["no-such-command"]));
      expect(absent).to.include({ code: Code.FAILED_PRECONDITION, reason: "COMMAND_NOT_FOUND" });
      const exec1 = { command: ["no-such-command"] };
      const brief = await failure(
        bench.nap.containers.execContainerSync({
          engine: bench.engine,
          container,
          exec: exec1,
          maxOutputBytes: 1,
        }),
      );
      expect(brief.reason).to.equal("COMMAND_NOT_FOUND");
      const plain = await failure(exec(bench, container, ["/etc/not-executable"]));
      expect(plain).to.include({ reason: "COMMAND_NOT_EXECUTABLE" });
      for (const code of [126, 127]) {
        const done = await exec(bench, container, ["sh", "-c", `exit ${code}`]);
        expect(done.exit?.code).to.equal(code);
      }
    },
  );

  test(
    "exec.refuses-a-container-that-does-not-run",
    "refuses a container that does not run",
    async (bench) => {
      const { id: container } = await bench.create({});
      const error = await failure(exec(bench, container, ["true"]));
      expect(error).to.include({
        code: Code.FAILED_PRECONDITION,
        reason: "CONTAINER_NOT_RUNNING",
      });
    },
  );
}

function exec({ nap, engine }: Bench, container: string, command: string[]) {
  return nap.containers.execContainerSync({ engine, container, exec: { command } });
}

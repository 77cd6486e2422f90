/** What becomes of a container: its ends and new starts, its health, and where its output goes. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import type { Container } from "../../../gen/nap/v1/container_service_pb.js";
import { ContainerState, HealthStatus } from "../../../gen/nap/v1/container_service_pb.js";
import { RestartMode } from "../../../gen/nap/v1/container_spec_pb.js";
import { ListView } from "../../../gen/nap/v1/types_pb.js";
import { all } from "../../support/client.js";
import type { Bench, SpecInit } from "../bench.js";
import { eventually, failure } from "../bench.js";
import type { OptionTest, Seen } from "./option.js";
import { imported } from "./option.js";
import { imageSource } from "../../support/requests/source.js";

/** Waits until a container is as it should be. */
function until(bench: Bench, id: string, fits: (now: Container) => boolean): Promise<Container> {
  return eventually(async () => {
    const now = await bench.get(id);
    return fits(now) ? now : undefined;
  });
}

/** Starts a container and waits until it has said that it is ready. */
async function ready(bench: Bench, spec: SpecInit, script: string): Promise<string> {
  const { nap, engine } = bench;
  const { id: container } = await bench.start(spec, ["sh", "-c", script]);
  const logs = nap.containers.streamContainerLogs({ engine, container, follow: true });
  for await (const { event } of logs) if (event.case === "batch") break;
  return container;
}

async function exitAfterStop(bench: Bench, spec: SpecInit, script: string): Promise<string> {
  const { nap, engine } = bench;
  const container = await ready(bench, spec, script);
  await nap.containers.stopContainer({ engine, container });
  return `exit ${(await bench.get(container)).exit?.code}`;
}

/** A policy by which a container that exits with a code is started again and again. */
function restarts(mode: RestartMode, code: number): Seen {
  return async (bench) => {
    const { nap, engine } = bench;
    const { id } = await bench.start({ restartPolicy: { mode } }, ["sh", "-c", `exit ${code}`]);
    const { restartCount } = await until(bench, id, (now) => now.restartCount >= 2);
    await nap.containers.stopContainer({ engine, container: id });
    const stopped = await bench.get(id);
    expect(stopped.state).to.equal(ContainerState.EXITED);
    return `started ${restartCount} times again`;
  };
}

/** A policy by which a container that has exited stays so. */
function stays(mode: RestartMode, code: number): Seen {
  return async (bench) => {
    const restartPolicy = { mode };
    const { id } = await bench.start({ restartPolicy }, ["sh", "-c", `exit ${code}`]);
    const { exit } = await until(bench, id, (now) => now.state === ContainerState.EXITED);
    expect(exit?.code).to.equal(code);
    expect((await bench.get(id)).restartCount).to.equal(0);
    return `exit ${code}`;
  };
}

const often = { interval: { nanos: 50_000_000 }, timeout: { seconds: 20n } };

async function health(bench: Bench, spec: SpecInit, wanted: HealthStatus): Promise<string> {
  const { id } = await bench.start(spec);
  await until(bench, id, (now) => now.health === wanted);
  return HealthStatus[wanted];
}

/** The lines that the engine still has of 20,000 that a container wrote. */
async function keptLines(bench: Bench, driver: string, options: Record<string, string>) {
  const { nap, engine } = bench;
  const spec = { logConfig: { driver, options } };
  const { id: container } = await bench.run(spec, "seq 20000");
  const seen = await all(nap.containers.streamContainerLogs({ engine, container }));
  return seen.flatMap(({ event }) =>
    event.case === "batch"
      ? event.value.entries.map(({ data }) => Buffer.from(data).toString().trim())
      : [],
  );
}

function rotates(driver: string): Seen {
  return async (bench) => {
    const lines = await keptLines(bench, driver, { "max-size": "64k", "max-file": "2" });
    expect(lines.at(-1)).to.equal("20000");
    expect(lines).not.to.include("1");
    return `keeps ${lines.length} lines of 20000`;
  };
}

export function lifecycleOptions(option: OptionTest): void {
  option(
    "option.restart-policy.on-failure-with-a-maximum",
    "restart_policy",
    "on-failure with a maximum count",
    async (bench) => {
      const restartPolicy = { mode: RestartMode.ON_FAILURE, maximumRetryCount: 2 };
      const { id } = await bench.start({ restartPolicy }, ["sh", "-c", "echo run; exit 1"]);
      const container = await until(
        bench,
        id,
        ({ restartCount, exit, state }) =>
          restartCount === 2 && exit !== undefined && state === ContainerState.EXITED,
      );
      expect(container.exit?.code).to.equal(1);
      expect(container.spec?.restartPolicy).to.include(restartPolicy);
      return "started 2 times again";
    },
  );

  option(
    "option.restart-policy.on-failure-restarts-after-failure",
    "restart_policy",
    "on-failure, after a failure",
    restarts(RestartMode.ON_FAILURE, 1),
  );

  option(
    "option.restart-policy.on-failure-stays-after-success",
    "restart_policy",
    "on-failure, after a success",
    stays(RestartMode.ON_FAILURE, 0),
  );

  option(
    "option.restart-policy.always",
    "restart_policy",
    "always, also after a success",
    restarts(RestartMode.ALWAYS, 0),
  );

  option(
    "option.restart-policy.unless-stopped",
    "restart_policy",
    "unless-stopped",
    restarts(RestartMode.UNLESS_STOPPED, 0),
  );

  option("option.restart-policy.no", "restart_policy", "no", stays(RestartMode.NO, 1));

  option(
    "option.stop-signal.by-name",
    "stop_signal",
    "by name: a stop asks by it",
    async (bench) => {
      const spec = { stopSignal: "SIGUSR1", stopTimeout: { seconds: 20n } };
      const script = "trap 'exit 42' USR1; echo ready; while :; do sleep 0.05; done";
      const exit = await exitAfterStop(bench, spec, script);
      expect(exit).to.equal("exit 42");
      return exit;
    },
  );

  option("option.stop-signal.by-number", "stop_signal", "by number", async (bench) => {
    const spec = { stopSignal: "12", stopTimeout: { seconds: 20n } };
    const script = "trap 'exit 43' USR2; echo ready; while :; do sleep 0.05; done";
    const exit = await exitAfterStop(bench, spec, script);
    expect(exit).to.equal("exit 43");
    return exit;
  });

  option(
    "option.stop-timeout.long-enough",
    "stop_timeout",
    "longer than what the process needs",
    async (bench) => {
      const script = "trap 'sleep 1; exit 44' TERM; echo ready; while :; do sleep 0.05; done";
      const exit = await exitAfterStop(bench, { stopTimeout: { seconds: 25n } }, script);
      expect(exit).to.equal("exit 44");
      return exit;
    },
  );

  option(
    "option.stop-timeout.too-short-kills",
    "stop_timeout",
    "shorter than what the process needs: it is killed",
    async (bench) => {
      // Docker waits ten seconds by itself, in which this one would end.
      const script = "trap 'sleep 8; exit 45' TERM; echo ready; while :; do sleep 0.05; done";
      const exit = await exitAfterStop(bench, { stopTimeout: { seconds: 1n } }, script);
      expect(exit).to.equal("exit 137");
      return exit;
    },
  );

  option(
    "option.healthcheck.a-command-that-succeeds",
    "healthcheck",
    "a command that succeeds",
    (bench) => {
      const check = { case: "command" as const, value: { arguments: ["true"] } };
      return health(bench, { healthCheck: { check, ...often } }, HealthStatus.HEALTHY);
    },
  );

  option(
    "option.healthcheck.a-shell-line-that-fails",
    "healthcheck",
    "a shell's command line that fails",
    (bench) => {
      const check = { case: "shellCommand" as const, value: "test -e /x || exit 1" };
      const healthCheck = { check, ...often, retries: 2 };
      return health(bench, { healthCheck }, HealthStatus.UNHEALTHY);
    },
  );

  option(
    "option.healthcheck.results",
    "healthcheck",
    "the last five results, in GetContainer and the full view alone",
    async (bench) => {
      const { nap, engine } = bench;
      const script = "echo checked; test -e /many && head -c 5000 /dev/zero | tr '\\0' x; exit 3";
      const check = { case: "shellCommand" as const, value: script };
      const { id } = await bench.start({ healthCheck: { check, ...often, retries: 2 } });
      const now = await until(bench, id, (now) => now.healthFailingStreak >= 6);
      expect(now.healthCheckResults).to.have.length(5);
      const times = now.healthCheckResults.flatMap(({ startTime, endTime }) => [
        startTime,
        endTime,
      ]);
      const millis = times.map((time) => (time === undefined ? NaN : timestampMs(time)));
      expect(millis).to.deep.equal(millis.toSorted((a, b) => a - b));
      for (const { exitCode, output, truncated } of now.healthCheckResults) {
        expect({ exitCode, output, truncated }).to.deep.equal({
          exitCode: 3,
          output: "checked\n",
          truncated: false,
        });
      }
      await bench.exec(id, "touch /many");
      const cut = await until(bench, id, (later) =>
        later.healthCheckResults.some(({ truncated }) => truncated),
      );
      expect(cut.healthCheckResults.at(-1)?.output).to.have.length(4096);
      for (const [view, results] of [
        [ListView.BASIC, 0],
        [ListView.FULL, 5],
      ] as const) {
        const { containers } = await nap.containers.listContainers({
          engine,
          view,
          filter: { ids: [id] },
        });
        expect(containers[0]?.healthCheckResults).to.have.length(results);
      }
      return "five of exit code 3, and cut at 4096 bytes";
    },
  );

  option(
    "option.healthcheck.timeout",
    "healthcheck",
    "a check that takes too long",
    async (bench) => {
      const check = { case: "command" as const, value: { arguments: ["sleep", "9"] } };
      const healthCheck = { check, ...often, timeout: { nanos: 200_000_000 }, retries: 1 };
      const { id } = await bench.start({ healthCheck });
      const now = await until(bench, id, ({ health }) => health === HealthStatus.UNHEALTHY);
      expect(now.healthCheckResults[0]?.exitCode).to.equal(-1);
      return now.healthCheckResults[0]?.output ?? "";
    },
  );

  option(
    "option.healthcheck.recovers",
    "healthcheck",
    "healthy again after it was not",
    async (bench) => {
      const check = { case: "shellCommand" as const, value: "test -e /x" };
      const healthCheck = { check, ...often, retries: 1 };
      const { id } = await bench.start({ healthCheck });
      await until(bench, id, (now) => now.health === HealthStatus.UNHEALTHY);
      await bench.exec(id, "touch /x");
      await until(bench, id, (now) => now.health === HealthStatus.HEALTHY);
      return "UNHEALTHY, then HEALTHY";
    },
  );

  option(
    "option.healthcheck.disabled",
    "healthcheck",
    "disabled, where the image has one",
    async (bench) => {
      const image = await imported(bench, ["HEALTHCHECK --interval=50ms CMD true"]);
      const { id } = await bench.start({ source: imageSource(image) } as object);
      await until(bench, id, (now) => now.health === HealthStatus.HEALTHY);
      const check = { case: "disabled" as const, value: {} };
      const without = await bench.start({
        source: imageSource(image),
        healthCheck: { check },
      } as object);
      expect(without.health).to.equal(HealthStatus.UNSPECIFIED);
      return "HEALTHY with the image's, none without";
    },
  );

  option(
    "option.healthcheck.start-interval",
    "healthcheck",
    "the time between checks while it starts",
    (bench) => {
      const check = { case: "command" as const, value: { arguments: ["true"] } };
      const startPeriod = { seconds: 60n };
      const startInterval = { nanos: 50_000_000 };
      const healthCheck = { check, interval: { seconds: 60n }, startPeriod, startInterval };
      return health(bench, { healthCheck }, HealthStatus.HEALTHY);
    },
  );

  option(
    "option.log-config.json-file-rotated",
    "log_config",
    "json-file, rotated",
    rotates("json-file"),
  );

  option("option.log-config.local-rotated", "log_config", "local, rotated", rotates("local"));

  option("option.log-config.json-file-whole", "log_config", "json-file, whole", async (bench) => {
    const lines = await keptLines(bench, "json-file", {});
    expect(lines).to.have.length(20_000);
    return `keeps ${lines.length} lines`;
  });

  option("option.log-config.none", "log_config", "none: reading is refused", async (bench) => {
    const { nap, engine } = bench;
    const { id: container } = await bench.run({ logConfig: { driver: "none" } }, "echo x");
    const error = await failure(all(nap.containers.streamContainerLogs({ engine, container })));
    expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "LOG_DRIVER_NOT_READABLE" });
    return error.reason;
  });

  option(
    "option.auto-remove.removes-at-the-exit",
    "auto_remove",
    "the container and its anonymous volume go when it exits",
    async (bench) => {
      const { nap, engine } = bench;
      const source = { case: "volume" as const, value: {} };
      const { id, mounts } = await bench.start(
        { autoRemove: true, mounts: [{ target: "/v", source }], stdinOpen: true },
        ["sh", "-c", "until [ -e /v/end ]; do sleep 0.05; done"],
      );
      const volume = mounts[0]?.volume ?? "";
      await bench.exec(id, "touch /v/end");
      await eventually(async () => {
        const { containers } = await nap.containers.listContainers({
          engine,
          filter: { ids: [id] },
        });
        return containers.length === 0 || undefined;
      });
      const error = await failure(nap.volumes.getVolume({ engine, volume }));
      expect(error.reason).to.equal("VOLUME_NOT_FOUND");
      return "both are gone";
    },
  );
}

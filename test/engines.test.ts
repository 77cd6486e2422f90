/** The conformance suite on every engine, and what is true of each alone. */
import { expect } from "chai";
import type { Test } from "mocha";
import { Bench, tidied } from "./conformance/bench.js";
import { dockerFloor } from "./conformance/floors/docker.js";
import { runcFloor } from "./conformance/floors/runc.js";
import { conformance, printTable } from "./conformance/suite.js";
import { dockerArchiveCases } from "./docker/archives.js";
import type { DockerBench } from "./docker/cases.js";
import { dockerCases } from "./docker/cases.js";
import { dockerEventCases } from "./docker/events.js";
import { logCases } from "./docker/logs.js";
import { dockerStatsCases } from "./docker/stats.js";
import { interactiveDockerCases } from "./docker/interactive.js";
import { runcCases } from "./runc/cases.js";
import type { EnginesBench } from "./support/engines/bench.js";
import { openBench } from "./support/engines/bench.js";
import { unmetReasons } from "./support/reasons.js";

describe("engines", () => {
  let opened: EnginesBench;

  before(async function () {
    this.timeout(60_000);
    opened = await openBench();
  });

  after(async function () {
    this.timeout(60_000);
    printTable();
    // It is missing where it did not start, which is a failure of its own.
    if (opened !== undefined) expect(await opened.stop(), "nap's exit code").to.equal(0);
    // A run of some cases alone, and one with failures, meets fewer.
    const tests: Test[] = [];
    this.test?.parent?.eachTest((test) => tests.push(test));
    if (!tests.every((test) => test.isPassed() || test.isPending())) return;
    expect(unmetReasons(), "reasons of errors that no case has met").to.deep.equal([]);
  });

  const open = (engine: string) => (): Bench => {
    const { dockerd, nap, image, rootfs } = opened;
    return new Bench(nap, engine, image, rootfs, dockerd.directory, dockerd);
  };
  conformance("docker", open("docker"), dockerFloor);
  conformance("runc", open("runc"), runcFloor);
  alone("docker alone", "docker", (openBench) => {
    dockerCases(openBench);
    describe("interactive", () => interactiveDockerCases(openBench));
  });
  alone("docker's events", "docker", dockerEventCases);
  alone("docker's logs", "docker", logCases);
  alone("docker's stats", "docker", dockerStatsCases);
  alone("docker's archives", "docker", dockerArchiveCases);
  alone("runc alone", "runc", runcCases);

  /** Declares cases that only one engine has. */
  function alone(title: string, engine: string, declare: (open: () => DockerBench) => void): void {
    describe(title, () => {
      const openTidied = tidied(open(engine));
      declare(() => ({ dockerd: opened.dockerd, nap: opened.nap, bench: openTidied() }));
    });
  }
});

/** What is true of Docker alone, or shown on it for all engines. */
import type { Bench } from "../conformance/bench.js";
import { accessCases } from "../server/access.js";
import { deploymentCases } from "../server/deployment.js";
import { errorTable } from "../server/errors.js";
import { dockerFaultCases } from "./faults.js";
import { freezeCases } from "./freeze.js";
import { hostileCases } from "../server/hostile.js";
import { operationCases } from "../server/operations.js";
import type { TestDockerd } from "../support/engines/dockerd.js";
import type { TestNap } from "../support/engines/nap.js";
import { bindRootCases } from "../server/bind-roots.js";
import { droppedFieldCases } from "./dropped-fields.js";
import { imageCases } from "./images.js";
import { ownershipCases } from "../server/ownership.js";
import { pruneCases } from "./prunes.js";
import { registryCases } from "./registries.js";
import { serverCases } from "../server/server.js";
import { situationCases } from "../server/situations.js";
import { streamCases } from "../server/streams.js";
import { transportCases } from "./transports.js";
import { errorCases } from "../server/violations.js";
import { volumeCases } from "./volumes.js";

/** What these cases work with. */
export interface DockerBench {
  readonly dockerd: TestDockerd;
  readonly nap: TestNap;
  readonly bench: Bench;
}

/** Declares the cases. `open` gives their bench when the tests run. */
export function dockerCases(open: () => DockerBench): void {
  describe("errors", () => errorCases(open));
  describe("errors by situation", () => situationCases(open));
  describe("errors of every method", () => errorTable(open));
  describe("streams", () => streamCases(open));
  describe("transports", () => transportCases(open));
  describe("registries", () => registryCases(open));
  describe("images", () => imageCases(open));
  describe("server", () => serverCases(open));
  describe("access", () => accessCases(open));
  describe("hostile input", () => hostileCases(open));
  describe("operations", () => operationCases(open));
  describe("deployment", () => deploymentCases(open));
  describe("ownership", () => ownershipCases(open));
  describe("bind roots", () => bindRootCases(open));
  describe("faults", () => {
    dockerFaultCases(open);
    freezeCases(open);
  });
  describe("volumes", () => volumeCases(open));
  describe("prunes", () => pruneCases(open));
  describe("dropped fields", () => droppedFieldCases(open));
}

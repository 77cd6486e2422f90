/** All conformance cases, by the files that declare them. */
import { archiveCases } from "./cases/archives.js";
import type { Case, ConformanceTest } from "./case.js";
import { containerCases } from "./cases/containers.js";
import { eventCases } from "./cases/events.js";
import { execCases } from "./cases/exec.js";
import { imageCases } from "./cases/images.js";
import { interactiveCases } from "./cases/interactive.js";
import { logCases } from "./cases/logs.js";
import { networkCases } from "./cases/networks.js";
import { optionCases } from "./options/all.js";
import type { Row } from "./options/rows.js";
import { lifecycleRowsOf } from "./options/rows.js";
import { runCases } from "./cases/run.js";
import { runOnceCases } from "./cases/run-once.js";
import { statsCases } from "./cases/stats.js";
import { verbCases } from "./cases/verbs.js";
import { volumeCases } from "./cases/volumes.js";
import { waitCases } from "./cases/wait.js";
import { watchCases } from "./cases/watch.js";

/** The groups of cases, each with the function that declares them. */
export const groups: readonly [title: string, declare: (test: ConformanceTest) => void][] = [
  ["containers", containerCases],
  ["verbs", verbCases],
  [
    "run",
    (test) => {
      runCases(test);
      runOnceCases(test);
    },
  ],
  ["options", optionCases],
  ["logs", logCases],
  ["exec", execCases],
  ["interactive", interactiveCases],
  ["events", eventCases],
  ["wait", waitCases],
  ["watch", watchCases],
  ["images", imageCases],
  ["volumes", volumeCases],
  ["networks", networkCases],
  ["archives", archiveCases],
  ["stats", statsCases],
];

/** All cases, in the order in which they run. */
export function allCases(): Case[] {
  const cases: Case[] = [];
  const collect: ConformanceTest = (id, title, run, about) => {
    cases.push({ id, title, run, ...about });
  };
  for (const [, declare] of groups) declare(collect);
  return cases;
}

/** The rows of the option table that a case proves. */
export function rowsOf({ id, row }: Pick<Case, "id" | "row">): Row[] {
  return row === undefined ? lifecycleRowsOf(id) : [row];
}

/**
 * Runs every case against an engine.
 *
 * A case either proves its effect, or is refused with fields or a method that the engine declares
 * unsupported: so no engine passes by failing, nor by declaring something and doing otherwise. The
 * floor names what must work all the same.
 */
import { expect } from "chai";
import type { Context } from "mocha";
import { status as Code } from "@grpc/grpc-js";
import { RpcError } from "../support/client.js";
import { keysOfPath } from "../support/keys.js";
import { archiveCases } from "./archives.js";
import type { Bench, Case } from "./bench.js";
import type { Floor } from "./floors.js";
import { containerCases } from "./containers.js";
import { eventCases } from "./events.js";
import { execCases } from "./exec.js";
import { interactiveCases } from "./interactive.js";
import { imageCases } from "./images.js";
import { logCases } from "./logs.js";
import { networkCases } from "./networks.js";
import { optionCases } from "./options/all.js";
import type { Row } from "./options/rows.js";
import { lifecycleRowsOf } from "./options/rows.js";
import { runCases } from "./run.js";
import { statsCases } from "./stats.js";
import { verbCases } from "./verbs.js";
import { volumeCases } from "./volumes.js";
import { waitCases } from "./wait.js";
import { watchCases } from "./watch.js";

const groups: readonly [title: string, cases: readonly Case[]][] = [
  ["containers", containerCases],
  ["verbs", verbCases],
  ["run", runCases],
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

/** The names of all cases. */
export const allCases: readonly string[] = groups.flatMap(([title, cases]) =>
  cases.map(({ name }) => `${title}: ${name}`),
);

/** The rows of the option table that the cases prove. */
export const provenRows: ReadonlySet<Row> = new Set(
  groups.flatMap(([title, cases]) => cases.flatMap((one) => rowsOf(title, one))),
);

/** How a case ended, and what it saw. */
interface Outcome {
  readonly word: "works" | "refused" | "skipped" | "failed";
  readonly told: string;
}

/** Declares the suite for one engine. `open` gives the bench when the tests run. */
export function conformance(engine: string, open: () => Bench, floor: Floor): void {
  const outcomes = new Map<string, Outcome>();
  tables.set(engine, outcomes);
  describe(`conformance: ${engine}`, () => {
    for (const [title, cases] of groups) {
      describe(title, () => {
        for (const one of cases) {
          const { name, run, unobservable } = one;
          // `npm run test:options` selects by this mark.
          it(
            rowsOf(title, one).length === 0 ? name : `${name} [option]`,
            async function (this: Context) {
              const bench = open();
              const key = `${title}: ${name}`;
              const reason = unobservable?.();
              if (reason !== undefined) {
                outcomes.set(key, { word: "skipped", told: reason });
                this.skip();
              }
              outcomes.set(key, { word: "failed", told: "" });
              try {
                await run(bench);
                outcomes.set(key, { word: "works", told: bench.seen });
              } catch (error) {
                const refused = await refusal(bench, error);
                if (refused === undefined || !mayRefuse(floor, key, refused)) throw error;
                outcomes.set(key, { word: "refused", told: refused.join(", ") });
              } finally {
                await bench.tidy();
              }
            },
          );
        }
      });
    }
  });
}

function rowsOf(title: string, { name, row }: Case): Row[] {
  return row === undefined ? lifecycleRowsOf(`${title}: ${name}`) : [row];
}

/** Whether the floor lets an engine refuse a case, with these fields. */
function mayRefuse(floor: Floor, key: string, fields: readonly string[]): boolean {
  const allowed = floor.exceptions.get(key);
  if (allowed === undefined) return !floor.cases.has(key);
  return fields.length > 0 && fields.every((field) => allowed.includes(field));
}

/** The fields, or the method, that an engine refused and has declared. */
async function refusal({ nap, engine }: Bench, error: unknown): Promise<string[] | undefined> {
  if (!(error instanceof RpcError)) return undefined;
  const declared = await nap.engines.getEngineCapabilities({ engine });
  if (error.reason === "METHOD_UNSUPPORTED_BY_ENGINE") {
    expect(error.code).to.equal(Code.UNIMPLEMENTED);
    return [error.message];
  }
  if (error.reason !== "FIELD_UNSUPPORTED_BY_ENGINE") return undefined;
  const names = new Set(
    [...declared.unsupportedFields, ...declared.unsupportedValues].map(({ field }) => field),
  );
  for (const path of error.fields) {
    const declares = keysOfPath(error.request, path).some((key) => names.has(key));
    expect(declares, `${path} is refused and not declared`).to.equal(true);
  }
  return error.fields;
}

const tables = new Map<string, Map<string, Outcome>>();

/** Prints what the suites that ran have found: options by engine, then the other cases. */
export function printTable(): void {
  for (const [engine, outcomes] of tables) printOptions(engine, outcomes);
  const engines = [...tables.keys()];
  const ran = groups.flatMap(([title, cases]) =>
    cases
      .filter((one) => one.row === undefined)
      .map(({ name }) => `${title}: ${name}`)
      .filter((key) => engines.some((engine) => tables.get(engine)?.has(key))),
  );
  if (ran.length === 0) return;
  console.log(`\n  ${"case".padEnd(80)} ${engines.map((name) => name.padEnd(9)).join(" ")}`);
  const notes: string[] = [];
  for (const key of ran) {
    const outcomes = engines.map((engine) => tables.get(engine)?.get(key));
    const words = outcomes.map((outcome) => (outcome?.word ?? "-").padEnd(9));
    console.log(`  ${key.padEnd(80)} ${words.join(" ")}`);
    for (const outcome of outcomes) {
      if (outcome && outcome.word !== "works")
        notes.push(`${key}: ${outcome.word}: ${outcome.told}`);
    }
  }
  if (notes.length > 0) console.log(`\n  ${notes.join("\n  ")}`);
}

/** The option table of one engine: row, form, what was seen, and whether that is right. */
function printOptions(engine: string, outcomes: ReadonlyMap<string, Outcome>): void {
  const lines = groups.flatMap(([title, cases]) =>
    cases.flatMap((one) => {
      const [row, outcome] = [one.row, outcomes.get(`${title}: ${one.name}`)];
      if (row === undefined || outcome === undefined) return [];
      const { word, told } = outcome;
      const effect = word === "works" ? told || word : `${word}${told && `: ${told}`}`;
      const pass = { works: "yes", refused: "yes", skipped: "-", failed: "NO" }[word];
      return [[row, one.form ?? one.name, effect.trim().replace(/\s+/g, " ").slice(0, 80), pass]];
    }),
  );
  if (lines.length === 0) return;
  console.log(`\n  options on ${engine}\n`);
  const head = ["option", "form", "effect observed", "pass"];
  const widths = head.map((_, n) =>
    Math.max(...[head, ...lines].map((line) => line[n]?.length ?? 0)),
  );
  for (const line of [head, ...lines]) {
    console.log(
      `  ${line
        .map((cell, n) => cell.padEnd(widths[n] ?? 0))
        .join("  ")
        .trimEnd()}`,
    );
  }
}

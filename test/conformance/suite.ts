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
import { keysOfPath } from "../support/requests/keys.js";
import type { Bench } from "./bench.js";
import { tidied } from "./bench.js";
import type { ConformanceTest } from "./case.js";
import { allCases, groups, rowsOf } from "./cases.js";
import type { Floor } from "./floors/floor.js";
import { unobservable } from "./options/unobservable.js";

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
    const openTidied = tidied(open);
    const test: ConformanceTest = (id, title, run, about) => {
      // `npm run test:options` selects by this mark.
      const marked = rowsOf({ id, ...about }).length === 0 ? title : `${title} [option]`;
      it(marked, async function (this: Context) {
        const reason = unobservable[id]?.();
        if (reason !== undefined) {
          outcomes.set(id, { word: "skipped", told: reason });
          this.skip();
        }
        outcomes.set(id, { word: "failed", told: "" });
        const bench = openTidied();
        try {
          await run(bench);
          outcomes.set(id, { word: "works", told: bench.seen });
        } catch (error) {
          const refused = await refusal(bench, error);
          if (refused === undefined || !mayRefuse(floor, id, refused)) throw error;
          outcomes.set(id, { word: "refused", told: refused.join(", ") });
        }
      });
    };
    for (const [title, declare] of groups) describe(title, () => declare(test));
  });
}

/** Whether the floor lets an engine refuse a case, with these fields. */
function mayRefuse(floor: Floor, id: string, fields: readonly string[]): boolean {
  const allowed = floor.exceptions.get(id);
  if (allowed === undefined) return !floor.cases.has(id);
  return fields.length > 0 && fields.every((field) => allowed.includes(field));
}

/** The fields, or the method, that an engine refused and has declared. */
async function refusal({ nap, engine }: Bench, error: unknown): Promise<string[] | undefined> {
  if (!(error instanceof RpcError)) return undefined;
  const declared = await nap.engines.getEngineCapabilities({ engine });
  if (error.reason === "METHOD_UNSUPPORTED") {
    expect(error.code).to.equal(Code.UNIMPLEMENTED);
    return [error.message];
  }
  if (error.reason !== "FIELD_UNSUPPORTED") return undefined;
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
  const ran = allCases()
    .filter(({ id, row }) => row === undefined && engines.some((name) => tables.get(name)?.has(id)))
    .map(({ id }) => id);
  if (ran.length === 0) return;
  console.log(`\n  ${"case".padEnd(60)} ${engines.map((name) => name.padEnd(9)).join(" ")}`);
  const notes: string[] = [];
  for (const id of ran) {
    const outcomes = engines.map((engine) => tables.get(engine)?.get(id));
    const words = outcomes.map((outcome) => (outcome?.word ?? "-").padEnd(9));
    console.log(`  ${id.padEnd(60)} ${words.join(" ")}`);
    for (const outcome of outcomes) {
      if (outcome && outcome.word !== "works")
        notes.push(`${id}: ${outcome.word}: ${outcome.told}`);
    }
  }
  if (notes.length > 0) console.log(`\n  ${notes.join("\n  ")}`);
}

/** The option table of one engine: row, form, what was seen, and whether that is right. */
function printOptions(engine: string, outcomes: ReadonlyMap<string, Outcome>): void {
  const lines = allCases().flatMap(({ id, title, row, form = title }) => {
    const outcome = outcomes.get(id);
    if (row === undefined || outcome === undefined) return [];
    const { word, told } = outcome;
    const effect = word === "works" ? told || word : `${word}${told && `: ${told}`}`;
    const pass = { works: "yes", refused: "yes", skipped: "-", failed: "NO" }[word];
    return [[row, form, effect.trim().replace(/\s+/g, " ").slice(0, 80), pass]];
  });
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

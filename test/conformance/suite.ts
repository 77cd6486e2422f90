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
import { archiveCases } from "./archives.js";
import type { Bench, Case } from "./bench.js";
import { containerCases } from "./containers.js";
import { eventCases } from "./events.js";
import { execCases } from "./exec.js";
import { interactiveCases } from "./interactive.js";
import { imageCases } from "./images.js";
import { logCases } from "./logs.js";
import { networkCases } from "./networks.js";
import { optionCases } from "./options.js";
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

/** Declares the suite for one engine. `open` gives the bench when the tests run. */
export function conformance(engine: string, open: () => Bench, floor: ReadonlySet<string>): void {
  const outcomes = new Map<string, string>();
  tables.set(engine, outcomes);
  describe(`conformance: ${engine}`, () => {
    for (const [title, cases] of groups) {
      describe(title, () => {
        for (const { name, run, unobservable } of cases) {
          it(name, async function (this: Context) {
            const bench = open();
            const key = `${title}: ${name}`;
            const reason = unobservable?.();
            if (reason !== undefined) {
              outcomes.set(key, `skipped: ${reason}`);
              this.skip();
            }
            outcomes.set(key, "failed");
            try {
              await run(bench);
              outcomes.set(key, "works");
            } catch (error) {
              const refused = await refusal(bench, error);
              if (refused === undefined || floor.has(key)) throw error;
              outcomes.set(key, `refused: ${refused}`);
            } finally {
              await bench.tidy();
            }
          });
        }
      });
    }
  });
}

/** What an engine refused, if it has declared that. */
async function refusal({ nap, engine }: Bench, error: unknown): Promise<string | undefined> {
  if (!(error instanceof RpcError)) return undefined;
  const declared = await nap.engines.getEngineCapabilities({ engine });
  if (error.reason === "METHOD_UNSUPPORTED_BY_ENGINE") {
    expect(error.code).to.equal(Code.UNIMPLEMENTED);
    return error.message;
  }
  if (error.reason !== "FIELD_UNSUPPORTED_BY_ENGINE") return undefined;
  const names = declared.unsupportedFields.map(({ name }) =>
    // A value may be refused in one field alone: `nap.v1.Message.field=VALUE`.
    name.split(".").at(-1)?.replace(/=.*$/, ""),
  );
  for (const field of error.fields) {
    const last = field
      .replace(/\[[^\]]*\]$/, "")
      .split(".")
      .at(-1);
    expect(names, `${field} is refused and not declared`).to.include(last);
  }
  return error.fields.join(", ");
}

const tables = new Map<string, Map<string, string>>();

/** Prints the table of all suites that ran: case × engine. */
export function printTable(): void {
  const engines = [...tables.keys()];
  const ran = allCases.filter((name) => engines.some((engine) => tables.get(engine)?.has(name)));
  const cell = (text: string): string => text.padEnd(9);
  console.log(`\n  ${"case".padEnd(80)} ${engines.map(cell).join(" ")}`);
  const notes: string[] = [];
  for (const name of ran) {
    const outcomes = engines.map((engine) => tables.get(engine)?.get(name) ?? "-");
    const words = outcomes.map((outcome) => cell(outcome.split(":")[0] ?? ""));
    console.log(`  ${name.padEnd(80)} ${words.join(" ")}`);
    notes.push(...outcomes.filter((outcome) => outcome.includes(":")).map((o) => `${name}: ${o}`));
  }
  if (notes.length > 0) console.log(`\n  ${notes.join("\n  ")}`);
}

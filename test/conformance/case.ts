/** What a conformance case is, and how a file of cases declares them. */
import type { Bench } from "./bench.js";
import type { Row } from "./options/rows.js";

/** A claim about every engine, and the calls that prove it. */
export interface Case {
  /** Names the case in floors and tables for good, whatever its title becomes. */
  readonly id: string;
  readonly title: string;
  readonly run: (bench: Bench) => Promise<void>;
  /** The row of the option table that it proves, and the form there. */
  readonly row?: Row;
  readonly form?: string;
}

/** Declares one case. */
export type ConformanceTest = (
  id: Case["id"],
  title: Case["title"],
  run: Case["run"],
  about?: Pick<Case, "row" | "form">,
) => void;

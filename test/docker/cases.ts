/** What is true of Docker alone. */
import type { TestDockerd } from "../support/dockerd.js";
import type { TestNap } from "../support/nap.js";
import type { Bench } from "../conformance/bench.js";

/** What these cases work with. */
export interface DockerBench {
  readonly dockerd: TestDockerd;
  readonly nap: TestNap;
  readonly bench: Bench;
}

/** Declares the cases. `open` gives their bench when the tests run. */
export function dockerCases(open: () => DockerBench): void {
  void open;
}

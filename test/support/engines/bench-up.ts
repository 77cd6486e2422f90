/** Keeps a bench up until it is told to end: `npm run bench:up`. */
import { once } from "node:events";
import { startBench, writeBench } from "./bench.js";

const begun = Date.now();
const ended = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => ended.abort());
}
const bench = await startBench();
console.log(`nap: a dockerd and a nap are up after ${((Date.now() - begun) / 1000).toFixed(1)} s`);
console.log(`nap: run tests on them, and end them by Ctrl-C:\n`);
console.log(`NAP_BENCH=${writeBench(bench)} npm run test:one -- test/engines.test.ts -g TITLE`);
if (!ended.signal.aborted) await once(ended.signal, "abort");
process.exitCode = await bench.stop();

/**
 * What the largest requests cost: `npm run bench:requests`. It prints the milliseconds of CPU for the bounds,
 * decoding and all checks of each kind of request that costs much, and ends with 1 where one costs more than
 * a request may.
 */
import { performance } from "node:perf_hooks";
import { statusOf } from "../src/rpc/status.js";
import { RuleTable } from "../src/contract/validation/rules.js";
import type { LargeRequest } from "../test/support/requests/large-requests.js";
import { supportOf } from "../src/contract/unsupported.js";
import { hostileRequests, judge, largestTaken } from "../test/support/requests/large-requests.js";

const mostMillis = 50;
/** Other work of the machine disturbs a single measurement; the least of some is the request's own. */
const rounds = 3;
const shown = 20;

const table = new RuleTable();

function cpuMillis(request: LargeRequest): number {
  let least = Infinity;
  for (let round = 0; round < rounds; round++) {
    const start = process.cpuUsage();
    const error = judge(table, supportOf([]), request);
    if (error !== undefined) statusOf(error);
    const { user, system } = process.cpuUsage(start);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}

const start = performance.now();
const costs: { millis: number; claim: string; bytes: number }[] = [];
for (const requests of [hostileRequests(), largestTaken(table)]) {
  for (const request of requests) {
    const { claim, bytes } = request;
    costs.push({ millis: cpuMillis(request), claim, bytes: bytes.length });
  }
}
costs.sort((a, b) => b.millis - a.millis);
for (const { millis, claim, bytes } of costs.slice(0, shown)) {
  console.log(`${millis.toFixed(1).padStart(8)} ms  ${String(bytes).padStart(8)} bytes  ${claim}`);
}
const worst = costs[0]?.millis ?? 0;
const seconds = ((performance.now() - start) / 1000).toFixed(0);
console.log(
  `${costs.length} requests in ${seconds} s; the worst takes ${worst.toFixed(1)} ms of CPU`,
);
process.exitCode = worst > mostMillis ? 1 : 0;

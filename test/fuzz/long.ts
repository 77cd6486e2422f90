/**
 * The long campaign: `npm run fuzz -- [REQUESTS] [SEED]`. It starts a dockerd and nap of its own, prints
 * what it found, and ends with 1 where something is wrong.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { startDockerd } from "../support/engines/dockerd.js";
import { startNap } from "../support/engines/nap.js";
import { campaign, residentBytes } from "./campaign.js";

/** Memory may differ by as much after a campaign: what the collector has not taken back yet. */
const slackBytes = 100 * 1024 * 1024;

const [requests = 100_000, seed = Date.now() % 2 ** 31] = process.argv.slice(2).map(Number);
const dockerd = await startDockerd();
let wrong = 0;
try {
  const directory = join(dockerd.directory, "fuzz");
  mkdirSync(directory);
  const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
  const config = { engines: { docker }, log_level: "silent" };
  const nap = await startNap(directory, config, dockerd.initPid);
  console.log(`seed ${seed}`);
  // What the first requests load stays.
  await campaign(nap.address, seed + 1, Math.min(requests, 5000));
  const base = residentBytes(nap.pid);
  const start = performance.now();
  const found = await campaign(nap.address, seed, requests);
  const { codes, improper, unnamed, slowest, requests: sent } = found;
  const seconds = (performance.now() - start) / 1000;
  // The last streams end, and what they held is free.
  let growth = residentBytes(nap.pid) - base;
  for (let n = 0; n < 30 && growth > slackBytes; n++) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await nap.engines.listEngines({});
    growth = residentBytes(nap.pid) - base;
  }
  console.log(`${sent} requests in ${seconds.toFixed(0)} s`);
  for (const [code, count] of Object.entries(codes)) console.log(`  ${code}: ${count}`);
  console.log(
    `memory: ${(base / 1e6).toFixed(0)} MB before, ${(growth / 1e6).toFixed(0)} MB more after`,
  );
  console.log("the slowest requests:");
  for (const { method, bytes, millis } of slowest) {
    console.log(`  ${method}, ${bytes} bytes: ${millis.toFixed(0)} ms`);
  }
  for (const [method, said] of unnamed) console.log(`the engine failed: ${method}: ${said}`);
  for (const line of improper) console.log(`improper: ${line}`);
  const code = await nap.stop();
  console.log(`nap ended with ${code}`);
  wrong = improper.length + code + (growth > slackBytes ? 1 : 0);
} finally {
  await dockerd.stop();
}
process.exitCode = wrong === 0 ? 0 : 1;

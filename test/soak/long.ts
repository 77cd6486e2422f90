/**
 * The soak: `npm run soak -- [MINUTES]`. Clients run, watch, read and remove containers on a dockerd of its own
 * for as long; then memory and open files must be what they were after the first minute.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { importMessages } from "../conformance/cases/images.js";
import { residentBytes } from "../fuzz/campaign.js";
import { all, resultOf } from "../support/client.js";
import { startDockerd } from "../support/engines/dockerd.js";
import { startNap } from "../support/engines/nap.js";
import { rootfsArchive } from "../support/engines/rootfs.js";
import { imageSource } from "../support/requests/source.js";

/** Memory may differ by as much: what the collector has not taken back yet. */
const slackBytes = 64 * 1024 * 1024;
/** As many clients work at once. */
const clients = 4;

const [minutes = 10] = process.argv.slice(2).map(Number);
const engine = "docker";
const image = "nap-soak:1";
const dockerd = await startDockerd();
let wrong = 1;
try {
  const directory = join(dockerd.directory, "soak");
  mkdirSync(directory);
  const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
  const config = { engines: { docker }, log_level: "silent" };
  const nap = await startNap(directory, config, dockerd.initPid);
  await resultOf(
    nap.images.importImage(importMessages(engine, { reference: image }, await rootfsArchive())),
  );
  const end = Date.now() + minutes * 60_000;
  let rounds = 0;
  const client = async (until: number): Promise<void> => {
    while (Date.now() < until) {
      const watch = new AbortController();
      const watching = all(nap.containers.watchContainers({ engine }, { signal: watch.signal }));
      watching.catch(() => undefined);
      const command = { arguments: ["sh", "-c", "seq 1 2000; sleep 0.2"] };
      const request = { engine, spec: { source: imageSource(image), command } };
      let container = "";
      for await (const { event } of nap.containers.runContainer(request)) {
        if (event.case === "created") container = event.value.containerId;
      }
      await all(nap.containers.streamContainerLogs({ engine, container }));
      await nap.containers.startContainer({ engine, container });
      const exec = { command: ["cat", "/proc/self/status"] };
      await nap.containers.execContainerSync({ engine, container, exec }).catch(() => undefined);
      await nap.containers.removeContainer({ engine, container, force: true });
      watch.abort();
      rounds++;
    }
  };
  const state = async () => {
    await delay(8000);
    return { bytes: residentBytes(nap.pid), files: nap.openFiles().length };
  };
  const work = (until: number) => Promise.all(Array.from({ length: clients }, () => client(until)));
  await work(Math.min(end, Date.now() + 60_000));
  const before = await state();
  await work(end);
  const after = await state();
  const grown = after.bytes - before.bytes;
  console.log(`${rounds} rounds of ${clients} clients in ${minutes} minutes`);
  console.log(
    `memory: ${(before.bytes / 1e6).toFixed(0)} MB after the first minute, ${(grown / 1e6).toFixed(0)} MB more at the end`,
  );
  console.log(`open files: ${before.files}, ${after.files} at the end`);
  const code = await nap.stop();
  console.log(`nap ended with ${code}`);
  wrong = code + (grown > slackBytes ? 1 : 0) + (after.files > before.files + 4 ? 1 : 0);
} finally {
  await dockerd.stop();
}
process.exitCode = wrong === 0 ? 0 : 1;

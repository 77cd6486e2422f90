/** What calls with a request_id get of a server that was killed between them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { all } from "../../support/client.js";
import type { TestNap } from "../../support/engines/nap.js";
import { Bench, ended } from "../bench.js";
import { counting } from "./run-once.js";
import { imageSource } from "../../support/requests/source.js";

/** A server is killed this often, each time later after the calls by this much. */
const rounds = 10;
const stepMillis = 60;

/**
 * Proves for one engine that the command runs once, and is told whole, whenever the server is killed.
 * `start` starts another server on the same engine.
 */
export async function runsOnceWhereNapIsKilled(
  start: () => Promise<TestNap>,
  { engine, image, rootfs, hostDirectory }: Bench,
): Promise<void> {
  let nap = await start();
  try {
    for (let round = 0; round < rounds; round++) {
      const bench = new Bench(nap, engine, image, rootfs, hostDirectory);
      const name = bench.name("killed");
      const { mounts, script } = counting(bench, name, "sleep 0.1;");
      const spec = {
        source: imageSource(image),
        command: { arguments: ["sh", "-c", script] },
        mounts,
      };
      const request = { engine, spec, requestId: name };
      const cut = [1, 2, 3].map(async () => all(nap.containers.runContainer(request)));
      for (const call of cut) call.catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, round * stepMillis));
      await nap.kill();
      nap = await start();
      const again = [1, 2, 3].map(async () => all(nap.containers.runContainer(request)));
      let made = "";
      for (const { id, stdout, exit } of (await Promise.all(again)).map(ended)) {
        made = id;
        expect(stdout, `round ${round}`).to.match(/^run [0-9a-f-]{36}\n$/);
        expect(readFileSync(join(hostDirectory, name), "utf8")).to.equal(stdout);
        expect(exit?.code).to.equal(3);
      }
      await nap.containers.removeContainer({ engine, container: made });
    }
  } finally {
    await nap.stop();
  }
}

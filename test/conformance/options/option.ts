/** How a case of an option is declared: its row, the form it takes, and where its effect is seen. */
import { expect } from "chai";
import { resultOf } from "../../support/client.js";
import type { Bench, SpecInit } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { importMessages } from "../cases/images.js";
import type { Row } from "./rows.js";

/** An effect that a script inside the container prints. */
interface Printed {
  readonly spec: SpecInit;
  readonly script: string;
  readonly shows: string | RegExp;
}

/**
 * An effect that is seen elsewhere: on the wire, on the host, in what the engine reports. It is proven
 * here, and returned in a few words.
 */
export type Seen = (bench: Bench) => Promise<string>;

/** Declares one form of one option. */
export type OptionTest = (id: string, row: Row, form: string, effect: Printed | Seen) => void;

/** Declares options as cases of the suite. */
export function optionTest(test: ConformanceTest): OptionTest {
  return (id, row, form, effect) => {
    const run = async (bench: Bench): Promise<void> => {
      bench.seen =
        typeof effect === "function" ? await effect(bench) : await printed(bench, effect);
    };
    test(id, `${row}: ${form}`, run, { row, form });
  };
}

async function printed(bench: Bench, { spec, script, shows }: Printed): Promise<string> {
  const { stdout, stderr } = await bench.run(spec, script);
  const seen = stdout.replace(/\r/g, "").trim();
  if (typeof shows === "string") expect(seen, stderr).to.equal(shows);
  else expect(seen, stderr).to.match(shows);
  return seen;
}

export const KiB = 1024n;
export const MiB = 1024n * KiB;

/** Prints a file of the container's own control group: version 1, else version 2. */
export function cgroupFile(controller: string, one: string, two: string): string {
  return `cat /sys/fs/cgroup/${controller}/${one} 2>/dev/null || cat /sys/fs/cgroup/${two}`;
}

/** Imports the test image with further configuration, under a name of its own. */
export async function imported(bench: Bench, instructions: string[]): Promise<string> {
  const { nap, engine, rootfs } = bench;
  const reference = `${bench.name("nap-import")}:1`;
  await resultOf(
    nap.images.importImage(importMessages(engine, { reference, instructions }, rootfs)),
  );
  bench.cleanUp(() => nap.images.removeImage({ engine, image: reference, force: true }));
  return reference;
}

/** How a case of an option is told: its row, the form it takes, and where its effect is seen. */
import { expect } from "chai";
import { resultOf } from "../../support/client.js";
import type { Bench, Case, SpecInit } from "../bench.js";
import { importMessages } from "../images.js";
import type { Row } from "./rows.js";
import { unobservable } from "./unobservable.js";

interface Told {
  /** The row of the option table. */
  readonly option: Row;
  /** The form of the option. */
  readonly form: string;
}

/** An effect that a script inside the container prints. */
interface Printed extends Told {
  readonly spec: SpecInit;
  readonly script: string;
  readonly shows: string | RegExp;
}

/** An effect that is seen elsewhere: on the wire, on the host, in what the engine reports. */
interface Seen extends Told {
  /** Proves the effect, and says in a few words what was seen. */
  readonly see: (bench: Bench) => Promise<string>;
}

/** One form of one option. */
export type OptionCase = Printed | Seen;

/** The case as the suite runs it. */
export function caseOf(told: OptionCase): Case {
  const { option, form } = told;
  const name = `${option}: ${form}`;
  const probe = unobservable[name];
  return {
    name,
    row: option,
    form,
    ...(probe && { unobservable: probe }),
    run: async (bench) => {
      bench.seen = "see" in told ? await told.see(bench) : await printed(bench, told);
    },
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

/** A dockerd and a nap with both engines in front of it, for the tests of the engines. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { importMessages } from "../../conformance/cases/images.js";
import { resultOf } from "../client.js";
import type { TestDockerd } from "./dockerd.js";
import { startDockerd } from "./dockerd.js";
import type { TestNap } from "./nap.js";
import { attachNap, startNap } from "./nap.js";
import { rootfsArchive } from "./rootfs.js";

/** What the tests of the engines work with. */
export interface EnginesBench {
  readonly dockerd: TestDockerd;
  readonly nap: TestNap;
  /** An image of busybox that both engines have. */
  readonly image: string;
  /** The archive that the image was made of. */
  readonly rootfs: Buffer;
  /** Ends what was started, and returns nap's exit code; a bench that stays is only left. */
  stop(): Promise<number>;
}

/** What the file of a bench that stays says of it. */
interface BenchFile {
  readonly dockerd: Omit<TestDockerd, "kill" | "again" | "stop">;
  readonly nap: Pick<TestNap, "addresses" | "pid">;
}

const image = "nap-test:1";
const sources = ["src", "gen"].map((name) => join(import.meta.dirname, "..", "..", "..", name));

/** Opens the bench that `npm run bench:up` keeps where NAP_BENCH names its file, else a new one. */
export async function openBench(): Promise<EnginesBench> {
  const file = process.env["NAP_BENCH"];
  return file === undefined || file === "" ? startBench() : attachBench(file);
}

/** Starts a bench, which ends with this process, however that ends. */
export async function startBench(): Promise<EnginesBench> {
  const dockerd = await startDockerd();
  try {
    // Both engines run in dockerd's namespaces, which end with everything in them.
    const [root, spool] = ["runc", "spool"].map((name) => join(dockerd.directory, name));
    for (const directory of [root, spool]) mkdirSync(directory!);
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    const runc = { driver: "runc", root, cgroup_parent: dockerd.cgroup };
    const engines = { docker, runc };
    const config = { engines, default_engine: "docker", spool_directory: spool };
    const nap = await startNap(dockerd.directory, config, dockerd.initPid);
    const rootfs = await rootfsArchive();
    for (const engine of Object.keys(engines)) {
      await resultOf(nap.images.importImage(importMessages(engine, { reference: image }, rootfs)));
    }
    const stop = async (): Promise<number> => {
      const code = await nap.stop();
      await dockerd.stop();
      return code;
    };
    return { dockerd, nap, image, rootfs, stop };
  } catch (error) {
    await dockerd.stop();
    throw error;
  }
}

/** Writes the file by which tests attach to a bench, and returns its path. */
export function writeBench({ dockerd, nap }: EnginesBench): string {
  const { addresses, pid } = nap;
  const path = join(dockerd.directory, "bench.json");
  const content: BenchFile = { dockerd, nap: { addresses, pid } };
  writeFileSync(path, JSON.stringify(content));
  return path;
}

async function attachBench(file: string): Promise<EnginesBench> {
  const said = readBench(file);
  const changed = sources.flatMap(filesBelow).find((path) => isNewer(path, file));
  if (changed !== undefined) {
    throw new Error(`${changed} is newer than the nap of this bench: stop it, and start it again`);
  }
  const { nap, close } = attachNap(said.nap.addresses, said.nap.pid);
  const needsOwn = (what: string) => (): Promise<never> =>
    Promise.reject(new Error(`${what} needs a bench of its own`));
  const dockerd = {
    ...said.dockerd,
    kill: needsOwn("killing dockerd"),
    again: needsOwn("starting dockerd again"),
    stop: needsOwn("stopping dockerd"),
  };
  const stop = (): Promise<number> => {
    close();
    return Promise.resolve(0);
  };
  return { dockerd, nap, image, rootfs: await rootfsArchive(), stop };
}

function readBench(file: string): BenchFile {
  try {
    const said = JSON.parse(readFileSync(file, "utf8")) as BenchFile;
    process.kill(said.nap.pid, 0);
    return said;
  } catch (error) {
    const advice = "start one by `npm run bench:up`, or unset NAP_BENCH";
    throw new Error(`NAP_BENCH=${file}: no bench is up there; ${advice}`, { cause: error });
  }
}

function filesBelow(directory: string): string[] {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function isNewer(path: string, than: string): boolean {
  return statSync(path).mtimeMs > statSync(than).mtimeMs;
}

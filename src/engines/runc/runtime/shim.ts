/**
 * Starts containers under conmon, which outlives nap: it keeps the output in a log file and leaves the
 * exit code in a file, whether nap is there or not (conmon 2.1.6, runc 1.1.5).
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { NapError } from "../../../contract/errors.js";
import { sleep } from "../../../lib/sleep.js";
import { run, runChecked } from "./command.js";
import { runtimeError } from "../errors.js";
import type { Store } from "./store.js";
import { readIfThere } from "./store.js";

/** The number of checks whether a shim has ended, and the time between two checks. */
const shimEndTries = 200;
const shimEndMillis = 10;

/** Creates and starts a container whose bundle is written, and notes the run. */
export async function startShim(store: Store, id: string, tty: boolean): Promise<void> {
  const { directory, persist } = store.paths(id);
  await deleteFromRuntime(store, id);
  // Of a container that was never started, as nap was killed before, the shim ends only now.
  await shimEnd(store, id);
  await store.forgetRun(id);
  await rm(persist, { recursive: true, force: true });
  await mkdir(persist);
  const pid = await createUnderShim(store, id, tty);
  try {
    // Before the start: the exit may come faster than anything that is written after it.
    await store.noteRun(id, pid);
    await runChecked("runc", ["--root", store.runcRoot, "start", id]);
  } catch (error) {
    const said = await readFile(join(directory, "conmon.err"), "utf8");
    await deleteFromRuntime(store, id);
    await store.forgetRun(id);
    throw runtimeError(id, said || (error as Error).message, error);
  }
}

/** Whether a run was noted and its process made, and not started: nap was killed between the two. */
export async function awaitsStart(store: Store, id: string): Promise<boolean> {
  const { code, stdout } = await run("runc", ["--root", store.runcRoot, "state", id]);
  return code === 0 && (JSON.parse(stdout.toString()) as { status?: string }).status === "created";
}

/** Starts what awaits its start. Another one may have done so meanwhile, as a call that nap left behind. */
export async function startAwaiting(store: Store, id: string): Promise<void> {
  const { code, stderr } = await run("runc", ["--root", store.runcRoot, "start", id]);
  if (code !== 0 && (await awaitsStart(store, id))) throw runtimeError(id, stderr);
}

function shimArguments(store: Store, id: string, tty: boolean, runtime: string): string[] {
  const { directory, log, pidFile, persist } = store.paths(id);
  const options: readonly [name: string, value: string][] = [
    ["--api-version", "1"],
    ["-c", id],
    ["-u", id],
    ["-n", id],
    ["-b", directory],
    ["-r", runtime],
    ["--runtime-arg", "--root"],
    ["--runtime-arg", store.runcRoot],
    ["-p", pidFile],
    ["-P", join(directory, "conmon.pid")],
    ["-0", persist],
    ["--exit-dir", store.exits],
    ["--socket-dir-path", join(store.root, "sockets")],
    ["-l", `k8s-file:${log}`],
  ];
  return [...options.flat(), ...(tty ? ["-t"] : [])];
}

async function createUnderShim(store: Store, id: string, tty: boolean): Promise<number> {
  const { directory } = store.paths(id);
  // conmon looks for it nowhere else.
  const runtime = (await runChecked("sh", ["-c", "command -v runc"])).trim();
  const errors = openSync(join(directory, "conmon.err"), "w");
  const conmon = spawn("conmon", shimArguments(store, id, tty, runtime), {
    // In a session of its own: no signal to nap's process group reaches it.
    detached: true,
    stdio: ["ignore", "ignore", errors, "pipe"],
    cwd: directory,
    env: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      _OCI_SYNCPIPE: "3",
    },
  });
  closeSync(errors);
  const failed = new Promise<never>((_resolve, reject) => {
    conmon.once("error", (error) => {
      reject(new NapError("ENGINE_UNREACHABLE", `conmon: ${error.message}`, {}, error));
    });
  });
  const said = await Promise.race([firstLine(conmon.stdio[3] as Readable), failed]);
  conmon.unref();
  const report = said === "" ? {} : (JSON.parse(said) as { data?: number; message?: string });
  if (report.data !== undefined && report.data > 0) return report.data;
  const words = report.message ?? (await readFile(join(directory, "conmon.err"), "utf8"));
  await deleteFromRuntime(store, id);
  await rm(store.paths(id).exitFile, { force: true });
  throw runtimeError(id, words);
}

/** conmon says how the creation went in one line of JSON, and may leave the pipe open behind it. */
async function firstLine(pipe: Readable): Promise<string> {
  let said = "";
  try {
    for await (const chunk of pipe) {
      said += String(chunk);
      if (said.includes("\n")) break;
    }
  } finally {
    pipe.destroy();
  }
  return said.trim();
}

/** Removes what runc knows of a container that has ended, or kills it. */
export async function deleteFromRuntime(store: Store, id: string): Promise<void> {
  await run("runc", ["--root", store.runcRoot, "delete", "--force", id]);
}

/** Waits until the shim of a container has ended, which is a moment after its process; not for ever. */
async function shimEnd(store: Store, id: string): Promise<void> {
  for (let tries = 0; tries < shimEndTries && (await shimLives(store, id)); tries++) {
    await sleep(shimEndMillis, new AbortController().signal);
  }
}

/** Whether the shim of a container is still there to write its exit file. */
export async function shimLives(store: Store, id: string): Promise<boolean> {
  const pid = await readIfThere(join(store.paths(id).directory, "conmon.pid"));
  if (pid === undefined) return false;
  const commandLine = await readIfThere(`/proc/${pid.trim()}/cmdline`);
  return commandLine?.includes(id) === true;
}

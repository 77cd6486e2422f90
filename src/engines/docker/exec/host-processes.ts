/**
 * Signals for commands, by their process ids on the engine's host, where that is nap's own.
 *
 * Docker has no call for it. A process id says little by itself, since it is given out again: before
 * every signal the process is looked at anew, whether it is still the one that was meant.
 */
import { readdir, readFile } from "node:fs/promises";
import { constants } from "node:os";
import { fieldError, NapError } from "../../../contract/errors.js";

/** A process, identified so that a reused process id is detected. */
export interface HostProcess {
  readonly pid: number;
  /** In clock ticks after the host's start. */
  readonly startTime: string;
  /** Its control groups, of which one carries the container's id. */
  readonly container: string;
}

/** The fields of /proc/PID/stat. */
interface Stat {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
  readonly session: number;
  readonly startTime: string;
}

/** The process with this id, if it runs in the container. */
export async function hostProcess(
  pid: number,
  container: string,
): Promise<HostProcess | undefined> {
  const stat = await statOf(pid);
  if (stat === undefined || !(await isIn(pid, container))) return undefined;
  return { pid, startTime: stat.startTime, container };
}

/** Sends a signal to a process; without effect where it has ended. */
export async function signalProcess(process: HostProcess, signal: string): Promise<void> {
  const number = signalNumber(signal);
  if (await isAlive(process)) send(process.pid, number);
}

/**
 * Ends a process, what descends from it, and what is left of its session. A process that has ended
 * itself leaves no trace of what it started, which goes on.
 */
export async function killTree(root: HostProcess): Promise<void> {
  const held = new Map<number, HostProcess>();
  // Stopped processes start no others, so that the last round finds none that is new.
  for (let found = await treeOf(root, held); found.length > 0; found = await treeOf(root, held)) {
    for (const process of found) {
      if (!(await isAlive(process))) continue;
      send(process.pid, constants.signals.SIGSTOP);
      held.set(process.pid, process);
    }
  }
  for (const process of held.values()) {
    if (await isAlive(process)) send(process.pid, constants.signals.SIGKILL);
  }
}

/** The processes of a tree that are not held yet. */
async function treeOf(
  root: HostProcess,
  held: ReadonlyMap<number, HostProcess>,
): Promise<HostProcess[]> {
  const names = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(names.map((name) => statOf(Number(name))));
  const alive = stats.filter((stat) => stat !== undefined && stat.state !== "Z") as Stat[];
  const leader = alive.find(({ pid }) => pid === root.pid);
  if (leader?.startTime !== root.startTime) return [];
  const tree = new Set([root.pid, ...held.keys()]);
  for (let size = 0; size < tree.size;) {
    size = tree.size;
    for (const { pid, parent, session } of alive) {
      // runc makes the command the leader of a session, whose id stays taken while it has members.
      if (tree.has(parent) || session === root.pid) tree.add(pid);
    }
  }
  const processes: HostProcess[] = [];
  for (const { pid, startTime } of alive) {
    if (!tree.has(pid) || held.get(pid)?.startTime === startTime) continue;
    if (await isIn(pid, root.container)) {
      processes.push({ pid, startTime, container: root.container });
    }
  }
  return processes;
}

/** Returns whether the process still exists and is the same one. */
async function isAlive({ pid, startTime, container }: HostProcess): Promise<boolean> {
  const stat = await statOf(pid);
  return stat?.startTime === startTime && stat.state !== "Z" && (await isIn(pid, container));
}

async function isIn(pid: number, container: string): Promise<boolean> {
  return (await textOf(`/proc/${pid}/cgroup`))?.includes(container) === true;
}

async function statOf(pid: number): Promise<Stat | undefined> {
  const text = await textOf(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The second part is the program's name in brackets, which may itself have blanks and brackets.
  const [state = "", parent, , session, ...rest] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  // The start time is the 22nd part.
  const startTime = rest[15] ?? "";
  return { pid, state, parent: Number(parent), session: Number(session), startTime };
}

/** Returns the text of a file in /proc, or undefined if the process has ended. */
async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

function send(pid: number, signal: number): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ESRCH") return;
    const message = `nap may not send a signal to process ${pid}: ${code}`;
    throw new NapError("INTERNAL", message, {}, error);
  }
}

/** The first and last signal that the C library leaves to programs. */
const realTime = { SIGRTMIN: 34, SIGRTMAX: 64 } as const;

/** The number of a signal, named as a shell names it. Fails with FIELD_INVALID. */
export function signalNumber(signal: string): number {
  const [, digits, name = "", offset = "0"] =
    /^(?:(\d{1,2})|((?:SIG)?[A-Z][A-Z0-9]*?)([+-]\d{1,2})?)$/.exec(signal) ?? [];
  const full = name.startsWith("SIG") ? name : `SIG${name}`;
  const base =
    full in realTime
      ? realTime[full as keyof typeof realTime]
      : offset === "0"
        ? (constants.signals as Readonly<Record<string, number>>)[full]
        : undefined;
  const number = digits === undefined ? (base ?? 0) + Number(offset) : Number(digits);
  if (number >= 1 && number <= realTime.SIGRTMAX) return number;
  const description = `there is no signal ${signal}`;
  throw fieldError([{ field: "signal", description, reason: "FIELD_INVALID" }]);
}

/** Runs the programs that this engine uses: runc, conmon, umoci, mount. */
import { spawn } from "node:child_process";
import { buffer } from "node:stream/consumers";
import { NapError } from "../../../contract/errors.js";
import { programError } from "../errors.js";

/** The result of a program. */
export interface ProgramResult {
  /** The exit code; -1 where a signal ended it. */
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its exit code. Fails with ENGINE_UNREACHABLE where it is not there. */
export async function run(program: string, args: readonly string[]): Promise<ProgramResult> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const exited = new Promise<number>((resolve, reject) => {
    child.once("error", (error) => {
      reject(new NapError("ENGINE_UNREACHABLE", `${program}: ${error.message}`, {}, error));
    });
    child.once("close", (code) => resolve(code ?? -1));
  });
  const [stdout, stderr, code] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    exited,
  ]);
  return { code, stdout, stderr: stderr.toString() };
}

/**
 * Runs a program that must succeed, and returns its output. Fails with ENGINE_ERROR and ENGINE_DISK_FULL.
 */
export async function runChecked(program: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(program, args);
  if (code === 0) return stdout.toString();
  const engineMessage = stderr.trim() || `exit code ${code}`;
  throw programError(`${program} ${args[0]}`, engineMessage);
}

/** Commands run in containers on runC. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import type { ContainerService } from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerState,
  ExecContainerSyncResponseSchema,
  ExecSpecSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { ExitStatusSchema } from "../../../../gen/nap/v1/types_pb.js";
import { environmentList } from "../../../lib/env-vars.js";
import { BoundedBuffer, defaultOutputBytes, reasonBytes } from "../../../lib/bounded-buffer.js";
import type { Methods } from "../../../core/engine.js";
import { NapError } from "../../../contract/errors.js";
import { currentContainer } from "../containers/containers.js";
import { runtimeError } from "../errors.js";
import type { RuncContext } from "../context.js";
import { resolveIdentity } from "../runtime/process-user.js";
import { readIfThere } from "../runtime/store.js";

/** The part of a bundle that a command beside the first one takes over. */
interface ProcessJson {
  user: { uid: number; gid: number; additionalGids: readonly number[] };
  args: string[];
  env: string[];
  cwd: string;
  terminal: boolean;
}

/** The calls that run a command in a container. */
export function execMethods(host: RuncContext) {
  return {
    execContainerSync: async (request, { signal }) => {
      const stored = host.store.find(request.container);
      const { id, state } = await currentContainer(host, stored);
      if (state !== ContainerState.RUNNING) {
        const message = `container ${request.container} does not run`;
        throw new NapError("CONTAINER_NOT_RUNNING", message, { resource: request.container });
      }
      const spec = request.exec ?? create(ExecSpecSchema);
      const { directory, bundleConfig } = host.store.paths(id);
      const bundle = JSON.parse(await readFile(bundleConfig, "utf8")) as { process: ProcessJson };
      const lower = host.store.unpacked(stored.imageDigest);
      const process: ProcessJson = {
        ...bundle.process,
        terminal: false,
        args: spec.command,
        env: [...bundle.process.env, ...environmentList(spec.environment)],
        cwd: spec.workingDir ?? bundle.process.cwd,
        ...(spec.user !== undefined && {
          user: await resolveIdentity(lower, spec.user, [], "exec.user"),
        }),
      };
      const files = join(directory, `exec-${randomUUID()}`);
      const [processFile, pidFile] = [`${files}.json`, `${files}.pid`];
      try {
        await writeFile(processFile, JSON.stringify(process));
        const limit = request.maxOutputBytes ?? defaultOutputBytes;
        const args = ["--root", host.store.runcRoot, "exec", "--process", processFile];
        const child = spawn("runc", [...args, "--pid-file", pidFile, id]);
        const exited = new Promise<number>((resolve, reject) => {
          child.once("error", reject);
          child.once("close", (code) => resolve(code ?? 137));
          // The command goes on, and what it writes is read and thrown away.
          signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
        });
        // A command may end without reading its input.
        child.stdin.on("error", () => undefined);
        child.stdin.end(request.stdin);
        const [stdout, stderr] = [new BoundedBuffer(limit), new BoundedBuffer(limit)];
        const reason = new BoundedBuffer(reasonBytes);
        const [code] = await Promise.all([
          exited,
          keep(child.stdout, stdout),
          keep(child.stderr, stderr, reason),
        ]);
        // runc writes this file when the command runs, and its own failures exit with 255.
        if ((await readIfThere(pidFile)) === undefined) {
          throw runtimeError(request.container, Buffer.from(reason.bytes()).toString());
        }
        return create(ExecContainerSyncResponseSchema, {
          exit: create(ExitStatusSchema, { code }),
          stdout: stdout.bytes(),
          stderr: stderr.bytes(),
          stdoutTruncated: stdout.truncated,
          stderrTruncated: stderr.truncated,
        });
      } finally {
        await rm(processFile, { force: true });
        await rm(pidFile, { force: true });
      }
    },
  } satisfies Methods<typeof ContainerService>;
}

async function keep(source: Readable, ...all: BoundedBuffer[]): Promise<void> {
  for await (const chunk of source) for (const kept of all) kept.add(chunk as Buffer);
}

/** The program `nap`, started as its users start it, with clients of its services. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ContainerService } from "../../gen/nap/v1/container_service_pb.js";
import { EngineService } from "../../gen/nap/v1/engine_service_pb.js";
import { ImageService } from "../../gen/nap/v1/image_service_pb.js";
import { NetworkService } from "../../gen/nap/v1/network_service_pb.js";
import { VolumeService } from "../../gen/nap/v1/volume_service_pb.js";
import type { ClientOf } from "./client.js";
import { clientOf, openChannel } from "./client.js";

const program = join(import.meta.dirname, "..", "..", "dist", "main.js");

/** The five services. */
export interface Clients {
  readonly containers: ClientOf<typeof ContainerService>;
  readonly volumes: ClientOf<typeof VolumeService>;
  readonly networks: ClientOf<typeof NetworkService>;
  readonly images: ClientOf<typeof ImageService>;
  readonly engines: ClientOf<typeof EngineService>;
}

/** A running server. */
export interface TestNap extends Clients {
  /** As grpc-js dials it. */
  readonly address: string;
  readonly pid: number;
  /** The paths and kinds of its open files. */
  openFiles(): string[];
  /** Kills it, so that it cleans up nothing. */
  kill(): Promise<void>;
  /** Stops it by SIGTERM and gives its exit code. */
  stop(): Promise<number>;
}

/**
 * Starts `nap serve` with a configuration, in a directory for its socket. With `namespacesOf` it runs
 * in the namespaces of that process, and ends with them.
 */
export async function startNap(
  directory: string,
  config: object,
  namespacesOf?: number,
): Promise<TestNap> {
  const file = join(directory, "nap.json");
  writeFileSync(file, JSON.stringify(config));
  const socket = join(directory, "nap.sock");
  const serve = [program, "serve", "--config", file, "--listen", `unix://${socket}`];
  const server =
    namespacesOf === undefined
      ? spawn(process.execPath, serve)
      : spawn("nsenter", ["-t", String(namespacesOf), "-a", process.execPath, ...serve]);
  await listening(server);
  const address = `unix:${socket}`;
  const channel = openChannel(address);
  const pid = namespacesOf === undefined ? server.pid : childOf(server.pid);
  if (pid === undefined) throw new Error("nap has no process id");
  return {
    address,
    pid,
    containers: clientOf(channel, ContainerService),
    volumes: clientOf(channel, VolumeService),
    networks: clientOf(channel, NetworkService),
    images: clientOf(channel, ImageService),
    engines: clientOf(channel, EngineService),
    openFiles: () => openFiles(pid),
    kill: async () => {
      const exited = once(server, "exit");
      process.kill(pid, "SIGKILL");
      await exited;
      channel.close();
    },
    stop: async () => {
      if (server.exitCode !== null) return server.exitCode;
      const exited = once(server, "exit");
      process.kill(pid, "SIGTERM");
      const [code] = (await exited) as [number | null];
      channel.close();
      return code ?? -1;
    },
  };
}

/** nsenter forks to enter a namespace of process ids, and waits. */
function childOf(pid: number | undefined): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return Number(children.trim().split(" ")[0]);
}

async function listening(server: ChildProcess): Promise<void> {
  const said: string[] = [];
  const exited = once(server, "exit").then(([code]) => {
    throw new Error(`nap exited with ${String(code)}:\n${said.join("\n")}`);
  });
  exited.catch(() => undefined);
  server.stderr?.on("data", (text: Buffer) => {
    said.push(text.toString());
    process.stderr.write(text);
  });
  const lines = createInterface({ input: server.stdout! });
  const ready = new Promise<void>((resolve) => {
    lines.on("line", (line) => {
      said.push(line);
      if (line.startsWith("nap: listening")) resolve();
    });
  });
  await Promise.race([ready, exited]);
}

function openFiles(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  return readdirSync(directory).flatMap((name) => {
    try {
      return [readlinkSync(join(directory, name))];
    } catch {
      return [];
    }
  });
}

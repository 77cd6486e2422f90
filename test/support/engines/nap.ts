/** The program `nap`, started as its users start it, with clients of its services. */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import { ContainerService } from "../../../gen/nap/v1/container_service_pb.js";
import { EngineService } from "../../../gen/nap/v1/engine_service_pb.js";
import { ImageService } from "../../../gen/nap/v1/image_service_pb.js";
import { NetworkService } from "../../../gen/nap/v1/network_service_pb.js";
import { VolumeService } from "../../../gen/nap/v1/volume_service_pb.js";
import type { Client } from "@grpc/grpc-js";
import type { ClientOf } from "../client.js";
import { clientOf, openChannel } from "../client.js";

/** The built program. */
export const program = join(import.meta.dirname, "..", "..", "..", "dist", "main.js");

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
  /** All addresses that it listens on, in the order of its configuration. */
  readonly addresses: readonly string[];
  readonly pid: number;
  /** The lines that it has written to its standard output. */
  output(): readonly string[];
  /** The paths and kinds of its open files. */
  openFiles(): string[];
  /** Kills it, so that it cleans up nothing. */
  kill(): Promise<void>;
  /** Stops it by SIGTERM and gives its exit code. */
  stop(): Promise<number>;
}

/**
 * Starts `nap serve` with a configuration, in a directory for its socket, on which it listens unless
 * the configuration says where. With `namespacesOf` it runs in the namespaces of that process, and
 * ends with them.
 */
export async function startNap(
  directory: string,
  config: object,
  namespacesOf?: number,
): Promise<TestNap> {
  const file = join(directory, "nap.json");
  writeFileSync(file, JSON.stringify(config));
  const socket = join(directory, "nap.sock");
  const listen = "listen" in config ? [] : ["--listen", `unix://${socket}`];
  const serve = [program, "serve", "--config", file, ...listen];
  const server =
    namespacesOf === undefined
      ? spawn(process.execPath, serve)
      : // Detached, so that the Ctrl-C of a terminal does not end nsenter before nap is stopped.
        spawn("nsenter", ["-t", String(namespacesOf), "-a", process.execPath, ...serve], {
          detached: true,
        });
  const output: string[] = [];
  const addresses = await listening(server, output);
  const [address = ""] = addresses;
  const channel = openChannel(address);
  const pid = namespacesOf === undefined ? server.pid : childOf(server.pid);
  if (pid === undefined) throw new Error("nap has no process id");
  const hold = holdLoosely(server);
  return {
    address,
    addresses,
    pid,
    ...clientsOf(channel),
    output: () => output,
    openFiles: () => openFiles(pid),
    kill: async () => {
      hold();
      const exited = once(server, "exit");
      process.kill(pid, "SIGKILL");
      await exited;
      channel.close();
    },
    stop: async () => {
      if (server.exitCode !== null) return server.exitCode;
      hold();
      const exited = once(server, "exit");
      process.kill(pid, "SIGTERM");
      const [code] = (await exited) as [number | null];
      channel.close();
      return code ?? -1;
    },
  };
}

/** A nap that somebody else has started and ends. `close` leaves it. */
export function attachNap(
  addresses: readonly string[],
  pid: number,
): { nap: TestNap; close: () => void } {
  const [address = ""] = addresses;
  const channel = openChannel(address);
  const needsOwn = (what: string): never => {
    throw new Error(`${what} needs a bench of its own`);
  };
  const nap: TestNap = {
    address,
    addresses,
    pid,
    ...clientsOf(channel),
    output: () => needsOwn("reading nap's output"),
    openFiles: () => openFiles(pid),
    kill: async () => needsOwn("killing nap"),
    stop: async () => needsOwn("stopping nap"),
  };
  return { nap, close: () => channel.close() };
}

/**
 * Lets the trials end where one of them fails before it has stopped its server, which then ends with
 * them. What is returned has them wait for it again.
 */
function holdLoosely(server: ChildProcess): () => void {
  const streams = [server.stdout, server.stderr] as unknown as (Socket | null)[];
  for (const handle of [server, ...streams]) handle?.unref();
  const end = (): void => void server.kill("SIGKILL");
  process.once("exit", end);
  server.once("exit", () => process.off("exit", end));
  return () => server.ref();
}

/** The five services over one channel. */
export function clientsOf(channel: Client): Clients {
  return {
    containers: clientOf(channel, ContainerService),
    volumes: clientOf(channel, VolumeService),
    networks: clientOf(channel, NetworkService),
    images: clientOf(channel, ImageService),
    engines: clientOf(channel, EngineService),
  };
}

/** nsenter forks to enter a namespace of process ids, and waits. */
function childOf(pid: number | undefined): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return Number(children.trim().split(" ")[0]);
}

/** The addresses that it says it listens on, once it has said all. Its lines go to `output`. */
async function listening(server: ChildProcess, output: string[]): Promise<string[]> {
  const said: string[] = [];
  const addresses: string[] = [];
  const exited = once(server, "exit").then(([code]) => {
    throw new Error(`nap exited with ${String(code)}:\n${[...output, ...said].join("\n")}`);
  });
  exited.catch(() => undefined);
  server.stderr?.on("data", (text: Buffer) => {
    said.push(text.toString());
    process.stderr.write(text);
  });
  const lines = createInterface({ input: server.stdout! });
  const ready = new Promise<void>((resolve) => {
    lines.on("line", (line) => {
      output.push(line);
      const address = /^nap: listening on (.+)$/.exec(line)?.[1];
      if (address !== undefined) addresses.push(address);
      if (line.startsWith("nap: try")) resolve();
    });
  });
  await Promise.race([ready, exited]);
  return addresses;
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

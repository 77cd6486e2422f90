/** A private dockerd for tests, with registries beside it, in namespaces of its own. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import Docker from "dockerode";
import type { Certificates } from "./certificates.js";
import { makeCertificates } from "./certificates.js";

/** Not /tmp, which may be a tmpfs or an overlay, where overlay2 does not work. */
const parent = "/var/tmp";
const startMillis = 30_000;

/** A running dockerd. */
export interface TestDockerd {
  readonly directory: string;
  readonly socket: string;
  /** Where dockerd listens over TLS, in its own network namespace. */
  readonly tlsAddress: string;
  readonly certificates: Certificates;
  /** The host and port of the open registry, as seen by dockerd. */
  readonly registry: string;
  /** The same for the registry that wants user `nap` and password `secret`. */
  readonly authRegistry: string;
  /** The control group below which everything in the namespaces is. */
  readonly cgroup: string;
  /** The process id, seen from outside, of pid 1 in the namespaces. */
  readonly initPid: number;
  /** Kills dockerd alone, with SIGKILL; its containers' processes stay. */
  kill(): Promise<void>;
  /** Starts dockerd again on the same root, after {@link kill}. */
  again(): Promise<void>;
  /** Ends dockerd and everything that it started, and waits until nothing is left. */
  stop(): Promise<void>;
}

const tlsAddress = "127.0.0.1:2376";
const registryPort = 5000;
const authRegistryPort = 5001;

/** Starts a dockerd. It ends with this process, however that ends. */
export async function startDockerd(): Promise<TestDockerd> {
  const support = import.meta.dirname;
  spawnSync("sh", [join(support, "sweep.sh"), parent], { stdio: "inherit" });
  const directory = mkdtempSync(join(parent, "nap-test-"));
  const certificates = makeCertificates(directory);
  writeFileSync(
    join(directory, "daemon.json"),
    JSON.stringify({
      hosts: [`unix://${directory}/docker.sock`, `tcp://${tlsAddress}`],
      tlsverify: true,
      tlscacert: certificates.ca,
      tlscert: certificates.serverCert,
      tlskey: certificates.serverKey,
      runtimes: { logged: { path: join(directory, "runtime") } },
    }),
  );
  // A runtime that tells of its calls, for the option of that name.
  const runtime = `#!/bin/sh\necho "$*" >>${directory}/runtime.log\nexec runc "$@"\n`;
  writeFileSync(join(directory, "runtime"), runtime, { mode: 0o755 });
  writeRegistryFiles(directory);
  const root = suiteRoot();
  const other = root === undefined ? [] : [root, process.execPath];
  const child = spawn("sh", [join(support, "dockerd.sh"), directory, ...other], {
    stdio: ["pipe", "ignore", "inherit"],
    detached: true,
  });
  const exited = once(child, "exit");
  const socket = join(directory, "docker.sock");
  const stop = async (): Promise<void> => {
    child.stdin.end();
    await exited;
  };
  try {
    await waitForPing(socket);
  } catch (error) {
    const log = readFileSync(join(directory, "dockerd.log"), "utf8");
    await stop();
    throw new Error(`dockerd did not start:\n${log}`, { cause: error });
  }
  const unshare = readFileSync(join(directory, "unshare.pid"), "utf8").trim();
  const children = readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8");
  const initPid = Number(children.trim().split(" ")[0]);
  const hold = join(directory, "hold");
  return {
    directory,
    socket,
    tlsAddress,
    certificates,
    registry: `127.0.0.1:${registryPort}`,
    authRegistry: `127.0.0.1:${authRegistryPort}`,
    cgroup: `/${basename(directory)}`,
    initPid,
    kill: async () => {
      writeFileSync(hold, "");
      const pid = childNamed("dockerd", initPid);
      process.kill(pid, "SIGKILL");
      // Else the hold might be lifted before it was seen.
      while (!existsSync(join(directory, "held"))) await delay(10);
    },
    again: async () => {
      rmSync(hold);
      await waitForPing(socket);
    },
    stop,
  };
}

/**
 * The root of the Debian suite whose engines are to be tested: the one that the environment variable
 * NAP_TEST_SUITE names. Undefined: those of this machine.
 */
function suiteRoot(): string | undefined {
  const suite = process.env["NAP_TEST_SUITE"] ?? "";
  if (suite === "") return undefined;
  const script = join(import.meta.dirname, "suite-root.sh");
  return execFileSync("sh", [script, suite], { encoding: "utf8" }).trim();
}

/** The child of a process that runs a program of this name. */
function childNamed(name: string, parent: number): number {
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8");
  const pids = children.trim().split(" ").map(Number);
  const found = pids.find((pid) => readFileSync(`/proc/${pid}/comm`, "utf8") === `${name}\n`);
  if (found === undefined) throw new Error(`process ${parent} has no child ${name}`);
  return found;
}

function writeRegistryFiles(directory: string): void {
  // The password is "secret", hashed with bcrypt.
  const password = "$2b$05$YVXoPYVWTQcmia5eNTDnauGrUe/4I9iPqLxEUYwH0L6da.27KnHbm";
  for (const [name, port, auth] of [
    ["registry", registryPort, ""],
    [
      "registry-auth",
      authRegistryPort,
      `auth: {htpasswd: {realm: nap, path: "${directory}/htpasswd"}}\n`,
    ],
  ] as const) {
    const data = join(directory, name);
    mkdirSync(data);
    const lines = [
      "version: 0.1",
      "log: {level: warn, accesslog: {disabled: true}}",
      `storage: {filesystem: {rootdirectory: "${data}"}}`,
      `http: {addr: "127.0.0.1:${port}", secret: x}`,
    ];
    writeFileSync(join(directory, `${name}.yml`), `${lines.join("\n")}\n${auth}`);
  }
  writeFileSync(join(directory, "htpasswd"), `nap:${password}\n`);
}

async function waitForPing(socketPath: string): Promise<void> {
  const docker = new Docker({ socketPath, host: undefined, port: undefined });
  const end = Date.now() + startMillis;
  for (;;) {
    try {
      await docker.ping();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
      await delay(50);
    }
  }
}

/** Mounts a file system in memory of this size, in the namespaces of a process, with which it ends. */
export function mountMemory(namespacesOf: number, directory: string, size: string): void {
  const mount = ["mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", directory];
  execFileSync("nsenter", ["-t", String(namespacesOf), "-m", ...mount]);
}

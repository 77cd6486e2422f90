#!/usr/bin/env node
/** The program `nap`: command line → configuration → engines → server. */
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { callLog, newLogger, standardOutput } from "./server/access-log.js";
import type { Config, ServeFlags } from "./config/config.js";
import { loadConfig } from "./config/config.js";
import type { EngineConfig } from "./config/engines.js";
import { ConfigError } from "./config/error.js";
import type { SpoolConfig } from "./core/uploads/spool.js";
import type { BindRoots } from "./core/mounts/bind-roots.js";
import type { Engine } from "./core/engine.js";
import { Engines } from "./core/engines.js";
import { createDockerEngine } from "./engines/docker/engine.js";
import { createRuncEngine } from "./engines/runc/engine.js";
import { ListenError } from "./server/listener.js";
import { newMetrics, serveMetrics } from "./server/metrics.js";
import type { Observer } from "./rpc/call-record.js";
import type { RunningServer } from "./server/server.js";
import { startServer } from "./server/server.js";

const help = `nap, one stable gRPC interface to container engines

Usage:
  nap serve [--config FILE] [--listen ADDRESS]... [--insecure]
  nap check [--config FILE]
  nap --help
  nap --version

serve runs the server; check says whether the configuration is valid and its engines answer.

Options:
  --config FILE      read engines and listeners from FILE (YAML)
  --listen ADDRESS   listen on unix:///path or host:port; may be given several times
                     (default: unix:///run/nap/nap.sock, or below XDG_RUNTIME_DIR)
  --insecure         let in everybody who reaches a host:port listener

Without a configuration file Docker is found by DOCKER_HOST, the docker context, or its socket.
`;

/** Creates an engine from its configuration. */
function createEngine(config: EngineConfig, bindRoots: BindRoots, spool: SpoolConfig): Engine {
  return config.driver === "docker"
    ? createDockerEngine(config, bindRoots, spool)
    : createRuncEngine(config, bindRoots);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      config: { type: "string" },
      listen: { type: "string", multiple: true },
      insecure: { type: "boolean" },
      help: { type: "boolean", short: "h" },
      version: { type: "boolean" },
    },
  });
  if (values.version) return print(version());
  if (values.help) return print(help);
  const [command, ...rest] = positionals;
  if (rest.length === 0 && command === "serve") return serve(values);
  if (rest.length === 0 && command === "check") return check(values);
  throw new ConfigError(`unknown command; run "nap --help"`);
}

async function serve(flags: ServeFlags): Promise<void> {
  const config = loadConfig(flags);
  for (const address of config.listen) {
    if (address.kind !== "unix") continue;
    await mkdir(dirname(address.path), { recursive: true, mode: 0o750 });
  }
  const output = standardOutput();
  const log = newLogger(config.logLevel, output);
  const engines = enginesOf(config);
  const metrics = newMetrics(engines.all);
  const observer = combineObservers(callLog(log), metrics);
  const server = await startServer(engines, config, observer, (message) => log.warn(message));
  const shown = config.metrics && (await serveMetrics(metrics, config.metrics));
  if (shown !== undefined) print(`nap: metrics at http://${shown.address}/metrics`);
  announce(config, server);
  await new Promise((resolve) => {
    process.once("SIGTERM", resolve).once("SIGINT", resolve);
  });
  print("nap: stopping");
  await server.stop();
  await shown?.close();
  output.flushSync();
}

/** Returns an observer that calls two observers. */
function combineObservers(first: Observer, second: Observer): Observer {
  return {
    callStarted: (method) => {
      first.callStarted(method);
      second.callStarted(method);
    },
    callEnded: (record) => {
      first.callEnded(record);
      second.callEnded(record);
    },
    engineProbed: (engine, up) => {
      first.engineProbed(engine, up);
      second.engineProbed(engine, up);
    },
  };
}

async function check(flags: ServeFlags): Promise<void> {
  const config = loadConfig(flags);
  const engines = enginesOf(config);
  const { signal } = new AbortController();
  const states = await Promise.all([...engines.all].map((engine) => engines.probe(engine, signal)));
  for (const { name, kind, version, errorMessage } of states) {
    print(`nap: engine "${name}" (${kind}): ${errorMessage || `answers, version ${version}`}`);
  }
  await engines.close();
  if (states.some(({ errorMessage }) => errorMessage !== "")) {
    throw new ConfigError("not every engine answers");
  }
}

function enginesOf(config: Config): Engines {
  const { bindRoots, spool } = config;
  const engines = config.engines.map((engine) => createEngine(engine, bindRoots, spool));
  return new Engines(engines, config.defaultEngine);
}

function announce({ engines, listen }: Config, { addresses }: RunningServer): void {
  for (const engine of engines) {
    const place = engine.driver === "docker" ? engine.url : engine.root;
    print(`nap: engine "${engine.name}" (${engine.driver}) at ${place}`);
  }
  for (const address of addresses) print(`nap: listening on ${address}`);
  const target = addresses[0]?.replace(/^unix:/, "-unix ");
  const [first] = listen;
  const isSecure = first?.kind === "tcp" && first.tls !== undefined;
  const transport = isSecure ? "-cacert CA -cert CERTIFICATE -key KEY" : "-plaintext";
  print(`nap: try  grpcurl ${transport} ${target} nap.v1.EngineService/ListEngines`);
}

function version(): string {
  const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return `nap ${(JSON.parse(manifest) as { version: string }).version}`;
}

function print(line: string): void {
  process.stdout.write(line.endsWith("\n") ? line : `${line}\n`);
}

/**
 * Returns the message of an error that the operator can fix, and the stack of any other one, which is a
 * defect.
 */
function explanation(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code = "" } = error as { code?: string };
  const expected =
    error instanceof ConfigError ||
    error instanceof ListenError ||
    /^ERR_PARSE_ARGS|^E[A-Z]+$/.test(code);
  return expected ? error.message : (error.stack ?? error.message);
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`nap: ${explanation(error)}\n`);
    process.exit(1);
  },
);

#!/usr/bin/env node
/** The program `nap`: command line → configuration → engines → server. */
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import type { Config, EngineConfig, ServeFlags } from "./config.js";
import { ConfigError, loadConfig } from "./config.js";
import type { Engine } from "./engine/engine.js";
import { Registry } from "./engine/registry.js";
import { createDockerEngine } from "./engines/docker/engine.js";
import type { RunningServer } from "./server.js";
import { startServer } from "./server.js";

const help = `nap, one stable gRPC interface to container engines

Usage:
  nap serve [--config FILE] [--listen ADDRESS]... [--insecure]
  nap --help
  nap --version

Options of serve:
  --config FILE      read engines and listeners from FILE (YAML)
  --listen ADDRESS   listen on unix:///path or host:port; may be given several times
                     (default: unix:///run/nap/nap.sock, or below XDG_RUNTIME_DIR)
  --insecure         let in everybody who reaches a host:port listener

Without a configuration file Docker is found by DOCKER_HOST, the docker context, or its socket.
`;

/** Each driver's way to make an engine from its configuration. */
const drivers: Readonly<Record<EngineConfig["driver"], (config: EngineConfig) => Engine>> = {
  docker: createDockerEngine,
};

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
  if (positionals.length !== 1 || positionals[0] !== "serve") {
    throw new ConfigError(`say "nap serve"; "nap --help" tells more`);
  }
  await serve(values);
}

async function serve(flags: ServeFlags): Promise<void> {
  const config = loadConfig(flags);
  for (const address of config.listen) {
    if (address.kind === "unix") await mkdir(dirname(address.path), { recursive: true, mode: 0o750 });
  }
  const engines = config.engines.map((engine) => drivers[engine.driver](engine));
  const registry = new Registry(engines, config.defaultEngine);
  const server = await startServer(registry, config.listen);
  announce(config, server);
  await new Promise((resolve) => {
    process.once("SIGTERM", resolve).once("SIGINT", resolve);
  });
  print("nap: stopping");
  await server.stop();
}

function announce({ engines }: Config, { addresses }: RunningServer): void {
  for (const { name, driver, url } of engines) print(`nap: engine "${name}" (${driver}) at ${url}`);
  for (const address of addresses) print(`nap: listening on ${address}`);
  const target = addresses[0]?.replace(/^unix:/, "-unix ");
  print(`nap: try  grpcurl -plaintext ${target} nap.v1.EngineService/ListEngines`);
}

function version(): string {
  const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return `nap ${(JSON.parse(manifest) as { version: string }).version}`;
}

function print(line: string): void {
  process.stdout.write(line.endsWith("\n") ? line : `${line}\n`);
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    const expected = error instanceof ConfigError || (error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS");
    const text = expected ? (error as Error).message : error instanceof Error ? error.stack : String(error);
    process.stderr.write(`nap: ${text}\n`);
    process.exit(1);
  },
);

/** Finds the engines of this machine if the configuration names none. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { DockerConfig, RuncConfig } from "./engines.js";
import { defaultTimeoutMillis } from "./engines.js";
import { ConfigError, readText } from "./error.js";

/** The variables of the environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns the sockets at which Docker is looked for, in this order, if neither DOCKER_HOST nor a context
 * names one.
 */
function usualSockets(env: Environment): string[] {
  const runtime = env["XDG_RUNTIME_DIR"];
  return [
    "/var/run/docker.sock",
    "/run/nap/docker.sock",
    ...(runtime === undefined ? [] : [join(runtime, "docker.sock")]),
    join(homedir(), ".docker", "run", "docker.sock"),
  ];
}

/**
 * Returns the engines of this machine. Docker is always included: if no socket exists, the first usual
 * path is used, and the engine is unreachable until it appears.
 */
export function discoverEngines(env: Environment): [DockerConfig, ...RuncConfig[]] {
  return [discoverDocker(env), ...discoverRunc(env)];
}

/** Returns the runC engine if its programs are on the PATH and nap is root. */
function discoverRunc(env: Environment): RuncConfig[] {
  const directories = (env["PATH"] ?? "").split(":");
  const found = (program: string): boolean =>
    directories.some((directory) => existsSync(join(directory, program)));
  if (process.getuid?.() !== 0 || !["runc", "conmon", "umoci"].every(found)) return [];
  return [{ name: "runc", driver: "runc", root: "/var/lib/nap/runc", cgroupParent: "/nap" }];
}

function discoverDocker(env: Environment): DockerConfig {
  const timeoutMillis = defaultTimeoutMillis;
  const docker = { name: "docker", driver: "docker", timeoutMillis } as const;
  const host = env["DOCKER_HOST"] ?? "";
  if (host !== "") {
    const secure = (env["DOCKER_TLS_VERIFY"] ?? "") !== "";
    const url = dockerUrl("DOCKER_HOST", host, secure);
    const certificates = env["DOCKER_CERT_PATH"] || join(homedir(), ".docker");
    return { ...docker, url, ...(secure && { tls: certificatesIn(certificates) }) };
  }
  const context = dockerContext(env);
  if (context !== undefined) return { ...docker, ...context };
  const sockets = usualSockets(env);
  const socket = sockets.find((path) => existsSync(path)) ?? sockets[0];
  return { ...docker, url: `unix://${socket}` };
}

/** Parses a URL of the docker CLI and adds the default port. Fails if nap does not support the scheme. */
function dockerUrl(what: string, url: string, secure: boolean): string {
  if (/^unix:\/\/\/.+$/.test(url)) return url;
  const address = /^tcp:\/\/(\[[0-9a-fA-F:]+\]|[^/:[\]]+)(:\d+)?\/?$/.exec(url);
  if (address === null) {
    throw new ConfigError(`${what}: "${url}" is neither unix:///path nor tcp://host:port`);
  }
  const [, host, port = secure ? ":2376" : ":2375"] = address;
  return `tcp://${host}${port}`;
}

function certificatesIn(directory: string): { ca: Buffer; cert: Buffer; key: Buffer } {
  const read = (name: string): Buffer => Buffer.from(readText(join(directory, name)));
  return { ca: read("ca.pem"), cert: read("cert.pem"), key: read("key.pem") };
}

const contextSchema = z.object({ Endpoints: z.object({ docker: z.object({ Host: z.string() }) }) });

/** Returns the endpoint of the docker CLI's current context, unless that is the default one. */
function dockerContext(env: Environment): Pick<DockerConfig, "url" | "tls"> | undefined {
  const directory = env["DOCKER_CONFIG"] ?? join(homedir(), ".docker");
  const settings = join(directory, "config.json");
  const current = env["DOCKER_CONTEXT"] || currentContextIn(settings) || "default";
  if (current === "default") return undefined;
  const id = createHash("sha256").update(current).digest("hex");
  const metadata = readJson(join(directory, "contexts", "meta", id, "meta.json"), contextSchema);
  const tls = join(directory, "contexts", "tls", id, "docker");
  const secure = existsSync(join(tls, "cert.pem"));
  return {
    url: dockerUrl(`docker context ${current}`, metadata.Endpoints.docker.Host, secure),
    ...(secure && { tls: certificatesIn(tls) }),
  };
}

const settingsSchema = z.object({ currentContext: z.string().optional() });

function currentContextIn(settings: string): string | undefined {
  return existsSync(settings) ? readJson(settings, settingsSchema).currentContext : undefined;
}

function readJson<T>(path: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(readText(path)));
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

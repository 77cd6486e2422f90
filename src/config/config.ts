/**
 * The configuration: file, command line and environment, checked and put together.
 *
 * This is the only reader of the environment.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { createHash } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import type { BindRootConfig } from "./bind-roots.js";
import { bindRootsSchema, checkedRoots } from "./bind-roots.js";
import type { Access, ListenAddress } from "./identities.js";
import { accessOf, identitiesSchema, listenAddress, listenSchema } from "./identities.js";

/** How to reach one engine. */
export type EngineConfig = DockerConfig | RuncConfig;

/** How to reach a dockerd. */
export interface DockerConfig {
  readonly name: string;
  readonly driver: "docker";
  /** `unix:///path` or `tcp://host:port`. */
  readonly url: string;
  /** Certificates, as PEM. */
  readonly tls?: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  /** How long dockerd may be silent before calls under way are given up. */
  readonly timeoutMillis: number;
}

/** Where nap keeps what it runs with runC. */
export interface RuncConfig {
  readonly name: string;
  readonly driver: "runc";
  /** The directory of images and containers. */
  readonly root: string;
  /** The control group below which containers' own are made. */
  readonly cgroupParent: string;
}

/** Where uploads are kept, and how large one may be. */
export interface SpoolConfig {
  /** A directory that exists. */
  readonly directory: string;
  readonly maxUploadBytes: number;
}

/** Everything that the server is told. */
export interface Config {
  readonly listen: readonly ListenAddress[];
  readonly engines: readonly EngineConfig[];
  readonly defaultEngine: string | undefined;
  readonly credentials: Access["credentials"];
  /** Where Prometheus reads metrics. Undefined: nowhere. */
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  /** The least grave lines that are logged. */
  readonly logLevel: z.infer<typeof logLevel>;
  /** How long calls under way may go on once the server has been told to stop. */
  readonly drainMillis: number;
  /** Directories of the host that bind mounts may name, by their names. */
  readonly bindRoots: ReadonlyMap<string, BindRootConfig>;
  /** Where uploads are kept until they are whole. */
  readonly spool: SpoolConfig;
}

/** What `nap serve` says on the command line. */
export interface ServeFlags {
  readonly config?: string | undefined;
  readonly listen?: readonly string[] | undefined;
  readonly insecure?: boolean | undefined;
}

/** A configuration that cannot be used. The message says what to change. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** A dockerd that works, however loaded, answers some request or other within this time. */
const defaultTimeoutMillis = 30_000;

const engineName = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "must match [a-z0-9][a-z0-9_-]*");
const dockerSchema = z.strictObject({
  driver: z.literal("docker"),
  url: z
    .string()
    .regex(/^(unix:\/\/\/.+|tcp:\/\/[^/]+:\d+)$/, "must be unix:///path or tcp://host:port"),
  tls: z.strictObject({ ca: z.string().optional(), cert: z.string(), key: z.string() }).optional(),
  timeout_seconds: z
    .number()
    .min(0.1)
    .max(3600)
    .default(defaultTimeoutMillis / 1000),
});

const runcSchema = z
  .strictObject({
    driver: z.literal("runc"),
    root: z.string().startsWith("/").default("/var/lib/nap/runc"),
    cgroup_parent: z.string().startsWith("/").default("/nap"),
  })
  .transform(({ cgroup_parent: cgroupParent, ...rest }) => ({ ...rest, cgroupParent }));

const engineSchema = z.discriminatedUnion("driver", [dockerSchema, runcSchema]);

const logLevel = z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]);

const hostAndPort = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[^:/[\]]+):\d{1,5}$/, "must be host:port")
  .transform((address) => {
    const colon = address.lastIndexOf(":");
    const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
    return { host, port: Number(address.slice(colon + 1)) };
  });
const fileSchema = z.strictObject({
  listen: z.array(listenSchema).min(1).optional(),
  identities: identitiesSchema.optional(),
  metrics: z.strictObject({ listen: hostAndPort }).optional(),
  log_level: logLevel.default("info"),
  drain_seconds: z.number().nonnegative().max(3600).default(10),
  default_engine: engineName.optional(),
  engines: z.record(engineName, engineSchema).optional(),
  bind_roots: bindRootsSchema.optional(),
  spool_directory: z.string().startsWith("/").default("/var/tmp"),
  max_upload_bytes: z
    .int()
    .positive()
    .default(4 * 1024 ** 3),
});

type Environment = Readonly<Record<string, string | undefined>>;

/** Puts the configuration together. Fails with a {@link ConfigError}. */
export function loadConfig(flags: ServeFlags, env: Environment = process.env): Config {
  const file = flags.config === undefined ? emptyFile() : readConfigFile(flags.config);
  const engines = file.engines ?? discoverEngines(env);
  // Of what was found, the first is meant by requests that name none.
  const defaultEngine = file.engines === undefined ? engines[0]?.name : file.default_engine;
  const names = engines.map(({ name }) => name);
  if (file.default_engine !== undefined && !names.includes(file.default_engine)) {
    throw new ConfigError(`default_engine: there is no engine "${file.default_engine}"`);
  }
  const said = flags.listen?.map((address) => ({ address }));
  const listen = said ?? file.listen ?? [{ address: `unix://${defaultSocket(env)}` }];
  const directory = flags.config === undefined ? process.cwd() : dirname(flags.config);
  return asConfigError(() => {
    const access = accessOf(file.identities ?? {});
    const insecure = flags.insecure ?? false;
    return {
      listen: listen.map((address) => listenAddress(address, access, insecure, directory)),
      engines,
      defaultEngine,
      credentials: access.credentials,
      metrics: file.metrics?.listen,
      logLevel: file.log_level,
      drainMillis: file.drain_seconds * 1000,
      bindRoots: checkedRoots(file.bind_roots ?? {}),
      spool: {
        directory: spoolDirectory(file.spool_directory),
        maxUploadBytes: file.max_upload_bytes,
      },
    };
  });
}

/** A directory for uploads. It is not made here: whoever names one means one that there is. */
function spoolDirectory(path: string): string {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path;
  throw new ConfigError(`spool_directory: ${path} is no directory`);
}

type ConfigFile = Omit<z.infer<typeof fileSchema>, "engines"> & { engines?: EngineConfig[] };

function emptyFile(): ConfigFile {
  const { engines: _none, ...defaults } = fileSchema.parse({});
  return defaults;
}

function readConfigFile(path: string): ConfigFile {
  const text = readText(path);
  let data: unknown;
  try {
    data = parse(text) ?? {};
  } catch (error) {
    throw new ConfigError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const parsed = fileSchema.safeParse(data);
  if (!parsed.success) {
    const issues = parsed.error.issues.map(
      ({ path: at, message }) => `${at.join(".")}: ${message}`,
    );
    throw new ConfigError(`${path}: ${issues.join("; ")}`);
  }
  const { engines, ...rest } = parsed.data;
  if (engines === undefined) return rest;
  const read = (pem: string): Buffer => Buffer.from(readText(resolve(dirname(path), pem)));
  return {
    ...rest,
    engines: Object.entries(engines).map(([name, engine]): EngineConfig => {
      if (engine.driver === "runc") return { name, ...engine };
      const { tls, timeout_seconds: timeoutSeconds, ...rest } = engine;
      const docker = { ...rest, timeoutMillis: timeoutSeconds * 1000 };
      if (tls === undefined) return { name, ...docker };
      const ca = tls.ca === undefined ? {} : { ca: read(tls.ca) };
      return { name, ...docker, tls: { ...ca, cert: read(tls.cert), key: read(tls.key) } };
    }),
  };
}

function asConfigError<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new ConfigError((error as Error).message, { cause: error });
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(`${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function defaultSocket(env: Environment): string {
  const runtime = process.getuid?.() === 0 ? "/run" : env["XDG_RUNTIME_DIR"];
  if (runtime === undefined || runtime === "") {
    throw new ConfigError("XDG_RUNTIME_DIR is not set: say where to listen by --listen");
  }
  return join(runtime, "nap", "nap.sock");
}

/** Where Docker is looked for, in this order, where neither DOCKER_HOST nor a context says it. */
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
 * The engines found on this machine. Docker is always among them: where no socket is there yet, it
 * is expected at the first usual place and shown as unreachable until it appears.
 */
export function discoverEngines(env: Environment): [DockerConfig, ...RuncConfig[]] {
  return [discoverDocker(env), ...discoverRunc(env)];
}

/** runC is found where the programs that it takes are on the PATH, and nap is root. */
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

/** A URL as the docker CLI takes it, with the port that it means. Fails where nap cannot speak it. */
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

/** The endpoint of the docker CLI's current context, unless that is the default one. */
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

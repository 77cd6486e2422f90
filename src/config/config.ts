/**
 * Loads and checks the configuration: file, command line and environment.
 *
 * Only this module reads the environment.
 */
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import type { BindRoots } from "../core/mounts/bind-roots.js";
import type { SpoolConfig } from "../core/uploads/spool.js";
import { bindRootsSchema, checkedRoots } from "./bind-roots.js";
import type { Environment } from "./discover.js";
import { discoverEngines } from "./discover.js";
import type { EngineConfig } from "./engines.js";
import { enginesOf, enginesSchema } from "./engines.js";
import { ConfigError, readText } from "./error.js";
import type { Access } from "./identities.js";
import { accessOf, identitiesSchema } from "./identities.js";
import type { ListenAddress } from "./listeners.js";
import { listenAddress, listenSchema } from "./listeners.js";
import { nameSchema, parseHostPort } from "./names.js";

/** The whole configuration of the server. */
export interface Config {
  readonly listen: readonly ListenAddress[];
  readonly engines: readonly EngineConfig[];
  readonly defaultEngine: string | undefined;
  readonly credentials: Access["credentials"];
  /** The address of the metrics listener; undefined if there is none. */
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  /** The minimum severity of lines that are logged. */
  readonly logLevel: z.infer<typeof logLevel>;
  /** How long calls in progress may continue at shutdown. */
  readonly drainMillis: number;
  /** The directories of the host that bind mounts may use, by name. */
  readonly bindRoots: BindRoots;
  /** Where uploads are stored until they are complete. */
  readonly spool: SpoolConfig;
}

/** The command line flags of `nap serve`. */
export interface ServeFlags {
  readonly config?: string | undefined;
  readonly listen?: readonly string[] | undefined;
  readonly insecure?: boolean | undefined;
}

const logLevel = z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]);

const hostAndPort = z.string().transform((address, context) => {
  const parsed = parseHostPort(address);
  if (parsed === undefined) context.addIssue("must be host:port");
  return parsed ?? z.NEVER;
});

const fileSchema = z.strictObject({
  listen: z.array(listenSchema).min(1).optional(),
  identities: identitiesSchema.optional(),
  metrics: z.strictObject({ listen: hostAndPort }).optional(),
  log_level: logLevel.default("info"),
  drain_seconds: z.number().nonnegative().max(3600).default(10),
  default_engine: nameSchema.optional(),
  engines: enginesSchema.optional(),
  bind_roots: bindRootsSchema.optional(),
  spool_directory: z.string().startsWith("/").default("/var/tmp"),
  max_upload_bytes: z
    .int()
    .positive()
    .default(4 * 1024 ** 3),
});

/** Loads the configuration. Fails with a {@link ConfigError}. */
export function loadConfig(flags: ServeFlags, env: Environment = process.env): Config {
  const file = flags.config === undefined ? emptyFile() : readConfigFile(flags.config);
  const engines = file.engines ?? discoverEngines(env);
  // The first discovered engine is the default.
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

/** Checks the directory for uploads, which must exist. */
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
  return engines === undefined ? rest : { ...rest, engines: enginesOf(engines, path) };
}

function asConfigError<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new ConfigError((error as Error).message, { cause: error });
  }
}

function defaultSocket(env: Environment): string {
  const runtime = process.getuid?.() === 0 ? "/run" : env["XDG_RUNTIME_DIR"];
  if (runtime === undefined || runtime === "") {
    throw new ConfigError("XDG_RUNTIME_DIR is not set: say where to listen by --listen");
  }
  return join(runtime, "nap", "nap.sock");
}

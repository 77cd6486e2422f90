/**
 * The configuration: file, command line and environment, checked and put together.
 *
 * This is the only reader of the environment.
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
  readonly bindRoots: BindRoots;
  /** Where uploads are kept until they are whole. */
  readonly spool: SpoolConfig;
}

/** What `nap serve` says on the command line. */
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

/** The part of the configuration that defines the engines and how to reach them. */
import { dirname, resolve } from "node:path";
import { z } from "zod";
import type { DockerTarget } from "../engines/docker/connection.js";
import type { RuncTarget } from "../engines/runc/context.js";
import { readText } from "./error.js";
import { nameSchema } from "./names.js";

/** How to reach a dockerd. */
export type DockerConfig = DockerTarget & { readonly driver: "docker" };
/** The directories of a runC engine. */
export type RuncConfig = RuncTarget & { readonly driver: "runc" };
/** How to reach one engine. */
export type EngineConfig = DockerConfig | RuncConfig;

/**
 * The default of how long dockerd may be silent; a working one answers at least one request within this
 * time.
 */
export const defaultTimeoutMillis = 30_000;

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

/** The schema of engines in the file, by name. */
export const enginesSchema = z.record(nameSchema, engineSchema);

/** Returns the engines of a file. Paths of certificates are relative to it. */
export function enginesOf(engines: z.infer<typeof enginesSchema>, file: string): EngineConfig[] {
  const read = (pem: string): Buffer => Buffer.from(readText(resolve(dirname(file), pem)));
  return Object.entries(engines).map(([name, engine]): EngineConfig => {
    if (engine.driver === "runc") return { name, ...engine };
    const { tls, timeout_seconds: timeoutSeconds, ...rest } = engine;
    const docker = { name, ...rest, timeoutMillis: timeoutSeconds * 1000 };
    if (tls === undefined) return docker;
    const ca = tls.ca === undefined ? {} : { ca: read(tls.ca) };
    return { ...docker, tls: { ...ca, cert: read(tls.cert), key: read(tls.key) } };
  });
}

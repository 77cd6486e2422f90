/** The gRPC server: its services, its health, its listeners and its end. */
import { rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.js";
import { Health } from "../gen/health/v1/health_pb.js";
import { EngineState } from "../gen/nap/v1/engine_service_pb.js";
import type { ListenAddress } from "./config.js";
import type { Registry } from "./engine/registry.js";
import { services } from "./engine/registry.js";
import { Calls } from "./rpc/bind.js";
import { reflection } from "./rpc/reflection.js";
import { routes } from "./rpc/route.js";

/** The time between two looks at whether the engines answer. */
const healthMillis = 5000;
/** How long calls under way may go on once the server has been told to stop. */
const drainMillis = 10_000;
/** How long the clean-up of calls that were ended may take. */
const cleanUpMillis = 5000;

/** An address that cannot be listened on. The message says why. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** A server that listens. */
export interface RunningServer {
  /** Where it listens, as gRPC clients name it. A TCP port 0 has become the one that was chosen. */
  readonly addresses: readonly string[];
  /** Stops listening, ends streams, lets other calls finish for a while, then closes everything. */
  stop(): Promise<void>;
}

/** Serves the engines of `registry` at every address, or fails and listens nowhere. */
export async function startServer(
  registry: Registry,
  listen: readonly ListenAddress[],
): Promise<RunningServer> {
  const server = new Server({ "grpc.max_receive_message_length": 4 * 1024 * 1024 });
  const calls = new Calls();
  const contract = services.map(({ desc }) => desc);
  for (const { definition, implementation } of [
    ...routes(registry, calls),
    // Clients decode the details of errors by reflection, too.
    ...reflection([...contract, Health], [file_google_rpc_error_details], calls),
  ]) {
    server.addService(definition, implementation);
  }
  const health = new HealthImplementation({ "": "SERVING" });
  for (const { typeName } of contract) health.setStatus(typeName, "SERVING");
  health.addToServer(server);

  const addresses: string[] = [];
  try {
    for (const address of listen) addresses.push(await bindAddress(server, address));
  } catch (error) {
    server.forceShutdown();
    throw error;
  }
  const watching = new AbortController();
  const watched = watchEngines(registry, health, watching.signal);
  return {
    addresses,
    stop: async () => {
      watching.abort();
      await watched;
      health.setStatus("", "NOT_SERVING");
      await drain(server, calls);
      await registry.close();
    },
  };
}

async function bindAddress(server: Server, address: ListenAddress): Promise<string> {
  if (address.kind === "unix") await removeDeadSocket(address.path);
  const target = address.kind === "unix" ? `unix:${address.path}` : address.target;
  // The socket is made by the bind itself, so its mode is a matter of the umask there.
  const umask = address.kind === "unix" ? process.umask(0o117) : undefined;
  try {
    const port = await new Promise<number>((resolve, reject) => {
      const done = (error: Error | null, bound: number): void =>
        error ? reject(new ListenError(error.message, { cause: error })) : resolve(bound);
      server.bindAsync(target, ServerCredentials.createInsecure(), done);
    });
    return address.kind === "unix" ? target : target.replace(/:\d+$/, `:${port}`);
  } finally {
    if (umask !== undefined) process.umask(umask);
  }
}

/** A socket that nobody listens on is left over from a server that was killed. */
async function removeDeadSocket(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new ListenError(`${path} exists and is not a socket`);
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
    probe.once("connect", () => probe.destroy());
  });
  if (answered) throw new ListenError(`another server listens on ${path}`);
  await rm(path);
}

/** Keeps each engine's health entry, `engines/<name>`, true until the signal. */
async function watchEngines(
  registry: Registry,
  health: HealthImplementation,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const probes = [...registry.engines].map((engine) => registry.probe(engine, signal));
    // A probe fails only where the signal ends the watch.
    for (const { name, state } of await Promise.all(probes).catch(() => [])) {
      const serving = state === EngineState.HEALTHY ? "SERVING" : "NOT_SERVING";
      health.setStatus(`engines/${name}`, serving);
    }
    await delay(healthMillis, undefined, { signal }).catch(() => undefined);
  }
}

/** Streams end at once, other calls have a while, and then their clean-up has one. */
async function drain(server: Server, calls: Calls): Promise<void> {
  calls.endStreams();
  const end = setTimeout(() => {
    calls.endAll();
    server.forceShutdown();
  }, drainMillis);
  try {
    await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  } finally {
    clearTimeout(end);
  }
  // What an engine cannot cut short, such as a stop with a long grace, is not waited for for ever.
  await Promise.race([calls.settled(), delay(cleanUpMillis)]);
}

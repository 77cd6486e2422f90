/** The gRPC server: its services, its health, its listeners and its end. */
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.js";
import { file_nap_v1_errors } from "../../gen/nap/v1/errors_pb.js";
import { Health } from "../../gen/health/v1/health_pb.js";
import { EngineState } from "../../gen/nap/v1/engine_service_pb.js";
import type { ListenAddress } from "../config/listeners.js";
import type { Credentials } from "../auth/identity.js";
import type { Registry } from "../core/engines.js";
import { services } from "../core/engines.js";
import type { Listener } from "./listener.js";
import { openListener } from "./listener.js";
import { Gate } from "../rpc/authenticate.js";
import type { Binding } from "../rpc/grpc-adapter.js";
import { Calls } from "../rpc/grpc-adapter.js";
import type { Observer } from "../rpc/call-record.js";
import { refusedCall } from "../rpc/call-record.js";
import { reflection } from "../rpc/reflection.js";
import { routes } from "../rpc/dispatch.js";
import { maxMessageBytes } from "../contract/request-limits.js";
import { RuleTable } from "../contract/rules.js";

/** What one client may take of the server. */
const limits = {
  "grpc.max_receive_message_length": maxMessageBytes,
  // Streams of one connection; gRPC clients wait for a free one.
  "grpc.max_concurrent_streams": 1000,
  // A connection whose other side is gone, or never spoke, is found and closed.
  "grpc.keepalive_time_ms": 60_000,
  "grpc.keepalive_timeout_ms": 20_000,
};

/** The time between two looks at whether the engines answer. */
const healthMillis = 5000;
/** How long the answers of calls that have ended may take to reach their clients. */
const lastBytesMillis = 500;
/** How long the clean-up of calls that were ended may take. */
const cleanUpMillis = 5000;

/** A server that listens. */
export interface RunningServer {
  /** Where it listens, as gRPC clients name it. A TCP port 0 has become the one that was chosen. */
  readonly addresses: readonly string[];
  /** Stops listening, ends streams, lets other calls finish for a while, then closes everything. */
  stop(): Promise<void>;
}

/** What is served, where, and to whom. */
export interface ServerConfig {
  readonly listen: readonly ListenAddress[];
  readonly credentials: Credentials;
  /** How long calls under way may go on once the server has been told to stop. */
  readonly drainMillis: number;
}

/** Serves the engines of `registry` at every address, or fails and listens nowhere. */
export async function startServer(
  registry: Registry,
  { listen, credentials, drainMillis }: ServerConfig,
  observer: Observer,
  warn: (message: string) => void,
): Promise<RunningServer> {
  const calls = new Calls();
  const rules = new RuleTable();
  const health = new HealthImplementation({ "": "SERVING" });
  for (const { desc } of services) health.setStatus(desc.typeName, "SERVING");
  const open: { server: Server; listener: Listener }[] = [];
  try {
    for (const address of listen) {
      const gate = new Gate(credentials, address.fallback, (method, metadata) =>
        observer.callEnded(refusedCall(method, metadata)),
      );
      const server = newServer(registry, health, { calls, gate, observer, rules });
      const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
      const accept = (connection: Socket): void => injector.injectConnection(connection);
      open.push({ server, listener: await openListener(address, accept, warn) });
    }
  } catch (error) {
    await closeAll(open);
    throw error;
  }
  const watching = new AbortController();
  const watched = watchEngines(registry, health, observer, watching.signal);
  return {
    addresses: open.map(({ listener }) => listener.address),
    stop: async () => {
      health.setStatus("", "NOT_SERVING");
      for (const { desc } of services) health.setStatus(desc.typeName, "NOT_SERVING");
      watching.abort();
      await watched;
      await Promise.all(open.map(({ listener }) => listener.close()));
      await drain(
        open.map(({ server }) => server),
        calls,
        drainMillis,
      );
      await registry.close();
    },
  };
}

/** A server for the connections of one listener. */
function newServer(registry: Registry, health: HealthImplementation, binding: Binding): Server {
  const server = new Server({ ...limits, interceptors: [binding.gate.interceptor] });
  const contract = services.map(({ desc }) => desc);
  for (const { definition, implementation } of [
    ...routes(registry, binding),
    // Clients decode the details of errors by reflection, too.
    ...reflection(
      [...contract, Health],
      [file_google_rpc_error_details, file_nap_v1_errors],
      binding,
    ),
  ]) {
    server.addService(definition, implementation);
  }
  health.addToServer(server);
  return server;
}

async function closeAll(open: readonly { server: Server; listener: Listener }[]): Promise<void> {
  for (const { server, listener } of open) {
    await listener.close();
    server.forceShutdown();
  }
}

/** Keeps each engine's health entry, `engines/<name>`, true until the signal. */
async function watchEngines(
  registry: Registry,
  health: HealthImplementation,
  observer: Observer,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const probes = [...registry.engines].map((engine) => registry.probe(engine, signal));
    // A probe fails only where the signal ends the watch.
    for (const { name, state } of await Promise.all(probes).catch(() => [])) {
      const up = state === EngineState.HEALTHY;
      health.setStatus(`engines/${name}`, up ? "SERVING" : "NOT_SERVING");
      observer.engineProbed(name, up);
    }
    await delay(healthMillis, undefined, { signal }).catch(() => undefined);
  }
}

/** Streams end at once, other calls have a while, and then their clean-up has one. */
async function drain(servers: readonly Server[], calls: Calls, drainMillis: number): Promise<void> {
  calls.endStreams();
  const over = new AbortController();
  const wait = (millis: number): Promise<void> =>
    delay(millis, undefined, { signal: over.signal }).catch(() => undefined);
  const shutDown = (server: Server): Promise<void> =>
    new Promise((resolve) => server.tryShutdown(() => resolve()));
  const shut = Promise.all(servers.map(shutDown));
  await Promise.race([calls.settled(), wait(drainMillis)]);
  calls.endAll();
  // What is left are the last bytes of calls that have ended, and clients that watch the health.
  await Promise.race([shut, wait(lastBytesMillis)]);
  for (const server of servers) server.forceShutdown();
  // What an engine cannot cut short, such as a stop with a long grace, is not waited for for ever.
  await Promise.race([calls.settled(), wait(cleanUpMillis)]);
  over.abort();
}

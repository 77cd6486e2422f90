/** The gRPC server: its services, health, listeners and shutdown. */
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
import type { Engines } from "../core/engines.js";
import { services } from "../core/engines.js";
import type { Listener } from "./listener.js";
import { openListener } from "./listener.js";
import { Authenticator } from "../rpc/authenticate.js";
import type { Binding } from "../rpc/grpc-adapter.js";
import { CallTracker } from "../rpc/call-tracker.js";
import type { Observer } from "../rpc/call-record.js";
import { refusedCall } from "../rpc/call-record.js";
import { reflection } from "../rpc/reflection.js";
import { routes } from "../rpc/dispatch.js";
import { maxMessageBytes } from "../contract/validation/request-limits.js";
import { RuleTable } from "../contract/validation/rules.js";

/** The limits of one client. */
const limits = {
  "grpc.max_receive_message_length": maxMessageBytes,
  // Streams of one connection; gRPC clients wait for a free one.
  "grpc.max_concurrent_streams": 1000,
  // Dead and idle connections are detected and closed.
  "grpc.keepalive_time_ms": 60_000,
  "grpc.keepalive_timeout_ms": 20_000,
};

/** The time between two probes of the engines. */
const healthMillis = 5000;
/** How long the last bytes of ended calls may take to reach their clients. */
const lastBytesMillis = 500;
/** How long the clean-up of aborted calls may take. */
const cleanUpMillis = 5000;

/** A server that listens. */
export interface RunningServer {
  /** The addresses in gRPC's notation. A TCP port 0 is replaced by the one that was assigned. */
  readonly addresses: readonly string[];
  /** Stops listening, ends streams, lets other calls finish for the drain time, then closes everything. */
  stop(): Promise<void>;
}

/** The listeners, credentials and timeouts of the server. */
export interface ServerConfig {
  readonly listen: readonly ListenAddress[];
  readonly credentials: Credentials;
  /** How long calls in progress may continue at shutdown. */
  readonly drainMillis: number;
}

/** Serves the engines at every address, or fails and listens nowhere. */
export async function startServer(
  engines: Engines,
  { listen, credentials, drainMillis }: ServerConfig,
  observer: Observer,
  warn: (message: string) => void,
): Promise<RunningServer> {
  const calls = new CallTracker();
  const rules = new RuleTable();
  const health = new HealthImplementation({ "": "SERVING" });
  for (const { desc } of services) health.setStatus(desc.typeName, "SERVING");
  const open: { server: Server; listener: Listener }[] = [];
  try {
    for (const address of listen) {
      const authenticator = new Authenticator(credentials, address.fallback, (method, metadata) =>
        observer.callEnded(refusedCall(method, metadata)),
      );
      const server = newServer(engines, health, { calls, authenticator, observer, rules });
      const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
      const accept = (connection: Socket): void => injector.injectConnection(connection);
      open.push({ server, listener: await openListener(address, accept, warn) });
    }
  } catch (error) {
    await closeAll(open);
    throw error;
  }
  const watching = new AbortController();
  const watched = watchEngines(engines, health, observer, watching.signal);
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
      await engines.close();
    },
  };
}

/** Returns a server for the connections of one listener. */
function newServer(engines: Engines, health: HealthImplementation, binding: Binding): Server {
  const server = new Server({ ...limits, interceptors: [binding.authenticator.interceptor] });
  const contract = services.map(({ desc }) => desc);
  for (const { definition, implementation } of [
    ...routes(engines, binding),
    // Clients also decode error details by reflection.
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

/** Updates each engine's health entry, `engines/<name>`, until the signal aborts. */
async function watchEngines(
  engines: Engines,
  health: HealthImplementation,
  observer: Observer,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const probes = [...engines.all].map((engine) => engines.probe(engine, signal));
    // A probe fails only if the signal has aborted.
    for (const { name, state } of await Promise.all(probes).catch(() => [])) {
      const up = state === EngineState.HEALTHY;
      health.setStatus(`engines/${name}`, up ? "SERVING" : "NOT_SERVING");
      observer.engineProbed(name, up);
    }
    await delay(healthMillis, undefined, { signal }).catch(() => undefined);
  }
}

/** Ends streams at once and other calls after the drain time, then waits for their clean-up. */
async function drain(
  servers: readonly Server[],
  calls: CallTracker,
  drainMillis: number,
): Promise<void> {
  calls.endStreams();
  const finished = new AbortController();
  const wait = (millis: number): Promise<void> =>
    delay(millis, undefined, { signal: finished.signal }).catch(() => undefined);
  const shutDown = (server: Server): Promise<void> =>
    new Promise((resolve) => server.tryShutdown(() => resolve()));
  const shut = Promise.all(servers.map(shutDown));
  await Promise.race([calls.settled(), wait(drainMillis)]);
  calls.endAll();
  // The remaining streams are the last bytes of ended calls, and clients that watch the health.
  await Promise.race([shut, wait(lastBytesMillis)]);
  for (const server of servers) server.forceShutdown();
  // The wait is bounded, since some operations cannot be interrupted, such as a stop with a long timeout.
  await Promise.race([calls.settled(), wait(cleanUpMillis)]);
  finished.abort();
}

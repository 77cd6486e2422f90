/** Counts calls and engines, and serves the counts to Prometheus on a separate listener. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Engine } from "../core/engine.js";
import { ListenError } from "./listener.js";
import type { Observer } from "../rpc/call-record.js";

/** The address of the metrics listener. */
export interface MetricsListen {
  readonly host: string;
  readonly port: number;
}

/** The metrics, and their text in Prometheus' format. */
export interface Metrics extends Observer {
  text(): Promise<string>;
}

/** Returns new metrics, all zero. The sizes of journals are read from the engines. */
export function newMetrics(engines: Iterable<Engine>): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const started = new Counter({
    name: "nap_calls_started_total",
    help: "Calls that have begun.",
    labelNames: ["method"],
    registers,
  });
  const ended = new Counter({
    name: "nap_calls_total",
    help: "Calls that have ended.",
    labelNames: ["method", "engine", "code", "reason"],
    registers,
  });
  const open = new Gauge({
    name: "nap_calls_open",
    help: "Calls under way, streams among them.",
    labelNames: ["method"],
    registers,
  });
  const seconds = new Histogram({
    name: "nap_call_duration_seconds",
    help: "How long unary calls took.",
    labelNames: ["method"],
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
    registers,
  });
  const bytes = new Counter({
    name: "nap_message_bytes_total",
    help: "Bytes of messages of calls that have ended.",
    labelNames: ["method", "direction"],
    registers,
  });
  const engineUp = new Gauge({
    name: "nap_engine_up",
    help: "Whether an engine answers.",
    labelNames: ["engine"],
    registers,
  });
  registry.registerMetric(
    new Gauge({
      name: "nap_journal_events",
      help: "Events that are remembered for cursors.",
      labelNames: ["engine"],
      registers: [],
      collect() {
        for (const { name, journalEvents } of engines) {
          if (journalEvents !== undefined) this.set({ engine: name }, journalEvents());
        }
      },
    }),
  );
  return {
    callStarted: (method) => {
      started.inc({ method });
      open.inc({ method });
    },
    callEnded: (record) => {
      // An unauthenticated client can call any name, which must not become a label.
      const method = record.identity === "" ? "" : record.method;
      const { engine, code, reason } = record;
      ended.inc({ method, engine, code, reason });
      if (method === "") return;
      open.dec({ method });
      if (!record.streaming) seconds.observe({ method }, record.durationMillis / 1000);
      bytes.inc({ method, direction: "received" }, record.receivedBytes);
      bytes.inc({ method, direction: "sent" }, record.sentBytes);
    },
    engineProbed: (engine, up) => engineUp.set({ engine }, up ? 1 : 0),
    text: () => registry.metrics(),
  };
}

/**
 * Serves `metrics` at `/metrics` over HTTP; returns the address and a function that closes the listener.
 */
export async function serveMetrics(
  metrics: Metrics,
  { host, port }: MetricsListen,
): Promise<{ readonly address: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    if (request.method !== "GET" || request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    metrics.text().then(
      (text) => response.writeHead(200, { "content-type": "text/plain; version=0.0.4" }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(new ListenError(error.message, { cause: error })));
    server.listen(port, host, resolve);
  });
  return {
    address: `${host}:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

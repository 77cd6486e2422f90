/** Throws random requests at a running server and looks how it stands it. */
import { readFileSync } from "node:fs";
import type { DescMethod } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import type { ServiceError } from "@grpc/grpc-js";
import { services } from "../../src/core/engines.js";
import { openChannel } from "../support/client.js";
import { Random, randomRequest } from "./mutation.js";

/** What a campaign found. */
export interface Findings {
  readonly requests: number;
  /** How many calls ended with each code. */
  readonly codes: Readonly<Record<string, number>>;
  /** Answers that no request may get: codes that say nothing, or faults of the server itself. */
  readonly improper: readonly string[];
  /** What the engine failed with in a way that nap has no name for, by method, an example of each. */
  readonly unnamed: ReadonlyMap<string, string>;
  /** The requests that were answered the latest, the latest first. Streams that were left are none. */
  readonly slowest: readonly Timed[];
}

/** A request and the time until its answer. */
export interface Timed {
  readonly method: string;
  readonly bytes: number;
  readonly millis: number;
}

/** A stream that goes on is left after this time. */
const streamMillis = 300;
/** The number of slowest requests that are printed. */
const slowestShown = 10;
/** The number of concurrent calls. */
const width = 32;

/**
 * Sends `requests` random requests, of all methods but those `without`. The same seed sends the same
 * bytes in the same order.
 */
export async function campaign(
  address: string,
  seed: number,
  requests: number,
  without: readonly string[] = [],
): Promise<Findings> {
  const random = new Random(seed);
  const methods = services
    .flatMap(({ desc }) => desc.methods)
    .filter(({ name }) => !without.includes(name));
  const channel = openChannel(address);
  const codes: Record<string, number> = {};
  const improper: string[] = [];
  const unnamed = new Map<string, string>();
  const slowest: Timed[] = [];
  let sent = 0;
  const worker = async (): Promise<void> => {
    while (sent < requests) {
      sent++;
      const method = random.pick(methods);
      const messages = Array.from({ length: messagesOf(method, random) }, (_, n) =>
        randomRequest(method.input, random, n === 0),
      );
      const start = performance.now();
      const error = await send(channel, method, messages);
      const millis = performance.now() - start;
      if (error?.code !== Code.CANCELLED) {
        const bytes = messages.reduce((sum, each) => sum + each.length, 0);
        slowest.push({ method: method.name, bytes, millis });
        slowest.sort((a, b) => b.millis - a.millis).splice(slowestShown);
      }
      const code = Code[error?.code ?? Code.OK] ?? "?";
      codes[code] = (codes[code] ?? 0) + 1;
      if (code === "INTERNAL") unnamed.set(method.name, error?.details ?? "");
      const faulty =
        code === "UNKNOWN" || (code === "INTERNAL" && /server failed/.test(error?.details ?? ""));
      if (faulty && improper.length < 20) {
        const bytes = messages.map((each) => Buffer.from(each).toString("base64")).join(" ");
        improper.push(`${method.name} ${code} ${error?.details ?? ""} ${bytes.slice(0, 2000)}`);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: width }, worker));
  } finally {
    channel.close();
  }
  return { requests: sent, codes, improper, unnamed, slowest };
}

function messagesOf({ methodKind }: DescMethod, random: Random): number {
  const streams = methodKind === "client_streaming" || methodKind === "bidi_streaming";
  return streams ? random.below(4) : random.chance(98) ? 1 : random.below(3);
}

async function send(
  channel: ReturnType<typeof openChannel>,
  method: DescMethod,
  messages: readonly Uint8Array[],
): Promise<ServiceError | undefined> {
  const raw = (bytes: Buffer): Buffer => bytes;
  const path = `/${method.parent.typeName}/${method.name}`;
  const stream = channel.makeBidiStreamRequest(path, raw, raw);
  const timer = setTimeout(() => stream.cancel(), streamMillis);
  try {
    return await new Promise((resolve) => {
      stream.on("data", () => undefined);
      stream.on("error", resolve);
      stream.on("end", () => resolve(undefined));
      for (const bytes of messages) stream.write(Buffer.from(bytes));
      stream.end();
    });
  } finally {
    clearTimeout(timer);
  }
}

/** The bytes of memory that a process holds. */
export function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

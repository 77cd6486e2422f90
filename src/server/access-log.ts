/** Writes one line of JSON for each call, and one when an engine becomes unreachable or reachable. */
import type { DestinationStream, Level, Logger } from "pino";
import { pino } from "pino";
import type { Observer } from "../rpc/call-record.js";

/** The maximum size of buffered lines. Beyond it lines are dropped so that calls are not delayed. */
const waitingBytes = 1024 * 1024;

/** Returns a non-blocking stream to standard output. */
export function standardOutput(): DestinationStream & { flushSync(): void } {
  return pino.destination({ dest: 1, sync: false, maxLength: waitingBytes });
}

/** Returns a logger for lines of this level or a more severe one. */
export function newLogger(level: Level | "silent", destination: DestinationStream): Logger {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

/**
 * Internal errors are logged as errors, unauthenticated calls as warnings, and all others as information.
 */
export function callLog(log: Logger): Observer {
  const up = new Map<string, boolean>();
  return {
    callStarted: () => undefined,
    callEnded: ({ streaming: _streaming, fault, ...record }) => {
      const line = { ...record, durationMillis: Math.round(record.durationMillis * 1000) / 1000 };
      if (fault !== undefined) log.error({ ...line, fault }, "call");
      else if (record.identity === "") log.warn(line, "call");
      else log.info(line, "call");
    },
    engineProbed: (engine, isUp) => {
      if (up.get(engine) === isUp) return;
      const isNews = up.has(engine) || !isUp;
      up.set(engine, isUp);
      if (isUp && isNews) log.info({ engine }, "the engine answers again");
      else if (!isUp) log.warn({ engine }, "the engine does not answer");
    },
  };
}

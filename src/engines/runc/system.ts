/** The host on which runC runs containers, and what happens on it. */
import { readFile } from "node:fs/promises";
import { cpus, hostname, release, totalmem } from "node:os";
import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  EngineService,
  StreamEventsRequest,
  StreamEventsResponse,
} from "../../../gen/nap/v1/engine_service_pb.js";
import {
  GetEngineResponseSchema,
  StreamEventsResponseSchema,
} from "../../../gen/nap/v1/engine_service_pb.js";
import type { Call, Methods } from "../../engine/engine.js";
import { compareTimes, eventMatches } from "../../engine/selection.js";
import { waitUntil } from "../../engine/wait.js";
import type { RuncHost } from "./host.js";
import { readIfThere } from "./store.js";

/** Go's names for the architectures that Node has others for. */
const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };

/** The calls on the engine itself. */
export function systemMethods(host: RuncHost) {
  return {
    getEngine: async () => {
      const os = await readFile("/etc/os-release", "utf8");
      const unified = (await readIfThere("/sys/fs/cgroup/cgroup.controllers")) !== undefined;
      return create(GetEngineResponseSchema, {
        host: {
          name: hostname(),
          platform: { os: "linux", architecture: architectures[process.arch] ?? process.arch },
          operatingSystem: /^PRETTY_NAME="(.*)"$/m.exec(os)?.[1] ?? "",
          kernelVersion: release(),
          cpus: cpus().length,
          memoryBytes: BigInt(totalmem()),
          cgroupVersion: unified ? 2 : 1,
          cgroupDriver: "cgroupfs",
          storageDriver: "overlay",
          dataRoot: host.store.root,
          runtimes: ["runc"],
          defaultRuntime: "runc",
        },
      });
    },

    streamEvents: (request, call) => streamEvents(host, request, call),
  } satisfies Methods<typeof EngineService>;
}

async function* streamEvents(
  host: RuncHost,
  { since, until, filter }: StreamEventsRequest,
  { signal }: Call,
): AsyncGenerator<StreamEventsResponse> {
  yield create(StreamEventsResponseSchema);
  const over = new AbortController();
  const end = (): void => over.abort();
  signal.addEventListener("abort", end, { once: true });
  const timer = waitUntil(until === undefined ? Infinity : timestampMs(until), over.signal).then(
    end,
    () => undefined,
  );
  try {
    for await (const batch of host.journal.read(since, over.signal)) {
      const events = batch.filter(
        (event) =>
          eventMatches(event, filter) &&
          (until === undefined || !event.time || compareTimes(event.time, until) <= 0),
      );
      if (events.length > 0) yield create(StreamEventsResponseSchema, { events });
    }
    signal.throwIfAborted();
  } finally {
    end();
    signal.removeEventListener("abort", end);
    await timer;
  }
}

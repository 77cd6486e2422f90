/** The host on which runC runs containers, and what happens on it. */
import { readFile } from "node:fs/promises";
import { cpus, hostname, release, totalmem } from "node:os";
import { create } from "@bufbuild/protobuf";
import type { EngineService } from "../../../gen/nap/v1/engine_service_pb.js";
import { GetEngineResponseSchema } from "../../../gen/nap/v1/engine_service_pb.js";
import type { Methods } from "../../core/engine.js";
import { streamEvents } from "../../core/events/stream.js";
import type { RuncContext } from "./context.js";
import { readIfThere } from "./runtime/store.js";

/** Go's names for the architectures that Node has others for. */
const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };

/** The calls on the engine itself. */
export function systemMethods(host: RuncContext) {
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

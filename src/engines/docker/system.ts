/** A dockerd and its host. */
import { create } from "@bufbuild/protobuf";
import type { EngineHost, EngineService } from "../../../gen/nap/v1/engine_service_pb.js";
import {
  EngineHostSchema,
  GetDiskUsageResponseSchema,
  GetEngineResponseSchema,
} from "../../../gen/nap/v1/engine_service_pb.js";
import type { Methods } from "../../core/engine.js";
import { streamEvents } from "../../core/events/stream.js";
import type { DiskUsageJson } from "../docker-http/convert/disk-usage.js";
import { diskUsageFromDocker } from "../docker-http/convert/disk-usage.js";
import type { DockerConnection } from "./connection.js";
import { withDockerErrors } from "./errors.js";
import type { EventFeed } from "./events/feed.js";
import type { InfoJson, VersionJson } from "../docker-http/json.js";

/** The calls on the engine itself. */
export function systemMethods(docker: DockerConnection, feed: EventFeed) {
  return {
    getEngine: async (_request, { signal }) => {
      const [version, info] = await Promise.all([
        docker.api.json<VersionJson>({ path: "/version" }, signal),
        docker.api.json<InfoJson>({ path: "/info" }, signal),
      ]);
      return create(GetEngineResponseSchema, { host: hostFromDocker(version.body, info.body) });
    },

    getDiskUsage: async (_request, { signal }) => {
      // dockerd runs one measurement at a time and rejects others.
      const { body } = await docker.withLock("disk usage", () => {
        const call = docker.api.json<DiskUsageJson>(
          { path: "/system/df", allowLongRunning: true },
          signal,
        );
        return withDockerErrors(call, "disk usage", {});
      });
      return create(GetDiskUsageResponseSchema, diskUsageFromDocker(body));
    },

    streamEvents: async function* events(request, call) {
      yield* streamEvents(await feed.subscribed(call.signal), request, call);
    },
  } satisfies Methods<typeof EngineService>;
}

function hostFromDocker({ Os, Arch }: VersionJson, info: InfoJson): EngineHost {
  return create(EngineHostSchema, {
    name: info.Name,
    platform: { os: Os, architecture: Arch },
    operatingSystem: info.OperatingSystem,
    kernelVersion: info.KernelVersion,
    cpus: info.NCPU,
    memoryBytes: BigInt(info.MemTotal),
    cgroupVersion: Number(info.CgroupVersion ?? 0),
    cgroupDriver: info.CgroupDriver,
    storageDriver: info.Driver,
    dataRoot: info.DockerRootDir,
    defaultLogDriver: info.LoggingDriver,
    runtimes: Object.keys(info.Runtimes ?? {}).toSorted(),
    defaultRuntime: info.DefaultRuntime,
    securityFeatures: (info.SecurityOptions ?? []).map(featureName),
    volumeDrivers: info.Plugins.Volume ?? [],
    networkDrivers: info.Plugins.Network ?? [],
    logDrivers: info.Plugins.Log ?? [],
    warnings: info.Warnings ?? [],
  });
}

/** The name out of "name=seccomp,profile=default". */
function featureName(option: string): string {
  return /^name=([^,]+)/.exec(option)?.[1] ?? option;
}

/** What dockerd reports of a container, and what it rewrites of what it was sent. */
import { posix } from "node:path";
import type { DockerCreate } from "../../../src/engines/docker-http/convert/container/container-spec.js";
import { endpointToDocker } from "../../../src/engines/docker-http/convert/container/endpoints.js";
import type {
  ConfigJson,
  ContainerJson,
  CreateBodyJson,
  EndpointJson,
  HostConfigJson,
} from "../../../src/engines/docker-http/json.js";

/** A container as inspect shows it before its first start. */
export function inspected(
  Config: ConfigJson,
  HostConfig: HostConfigJson,
  Networks: Record<string, EndpointJson> = {},
): ContainerJson {
  return {
    Id: "b6739b3ed9fb37785ed0001c959b1c7db44d7bc237b754330a33895a5cd6a239",
    Name: "/name",
    Created: "2026-01-01T00:00:00Z",
    Image: "sha256:00",
    RestartCount: 0,
    State: {
      Status: "created",
      Running: false,
      Paused: false,
      OOMKilled: false,
      Pid: 0,
      ExitCode: 0,
      Error: "",
      StartedAt: "0001-01-01T00:00:00Z",
      FinishedAt: "0001-01-01T00:00:00Z",
    },
    Config: { Image: "i", ...Config },
    HostConfig,
    Mounts: [],
    NetworkSettings: { Ports: {}, Networks },
  };
}

const otherId = "fe72745cf7613f4697783e5c10a1ba323ad7a2d96591b7fa80cdbd7050154b03";

/**
 * What dockerd would report of a container created so: with its defaults (those of 20.10 on control
 * groups of version 1) and in its own writing. Nothing else is changed, and nothing is dropped.
 */
export function afterDockerd({ body, further }: DockerCreate, newer: boolean): ContainerJson {
  const sent = JSON.parse(JSON.stringify(body)) as CreateBodyJson;
  const { HostConfig: host, NetworkingConfig, ...config } = sent;
  const { NetworkMode = "default", Privileged, PidMode, IpcMode } = host;
  const own = NetworkMode === "default" ? "bridge" : NetworkMode;
  const connected = Object.fromEntries(
    further.map(({ network, endpoint }) => [network, endpointToDocker(endpoint)]),
  );
  const endpoints: Record<string, EndpointJson> = {
    ...NetworkingConfig?.EndpointsConfig,
    ...(JSON.parse(JSON.stringify(connected)) as Record<string, EndpointJson>),
  };
  if (!/^(none|host|container:.*)$/.test(own)) endpoints[own] ??= {};
  const capability = (name: string): string =>
    newer ? `CAP_${name.toUpperCase().replace(/^CAP_/, "")}` : name;
  const labelled = Privileged === true || PidMode === "host" || IpcMode === "host";
  return inspected(
    {
      ...config,
      Hostname: config.Hostname || "b6739b3ed9fb",
      WorkingDir: config.WorkingDir ? posix.normalize(config.WorkingDir) : "",
      Entrypoint: config.Entrypoint?.join() === "" ? null : (config.Entrypoint ?? null),
      Cmd: config.Cmd ?? null,
    },
    {
      ...host,
      NetworkMode: byId(NetworkMode),
      PidMode: byId(PidMode ?? ""),
      IpcMode: byId(IpcMode || "private"),
      CgroupnsMode: host.CgroupnsMode ?? "host",
      MemorySwap: host.MemorySwap ?? 2 * (host.Memory ?? 0),
      Memory: host.Memory ?? 0,
      MemorySwappiness: host.MemorySwappiness ?? (newer ? null : -1),
      PidsLimit: (host.PidsLimit ?? 0) <= 0 ? null : (host.PidsLimit ?? null),
      OomKillDisable: host.OomKillDisable ?? false,
      ShmSize: host.ShmSize ?? 67_108_864,
      Runtime: host.Runtime || "runc",
      RestartPolicy: host.RestartPolicy ?? { Name: "no", MaximumRetryCount: 0 },
      LogConfig: {
        Type: host.LogConfig?.Type || "json-file",
        Config: host.LogConfig?.Config ?? {},
      },
      SecurityOpt: [...(host.SecurityOpt ?? []), ...(labelled ? ["label=disable"] : [])],
      CapAdd: host.CapAdd?.map(capability) ?? null,
      CapDrop: host.CapDrop?.map(capability) ?? null,
      MaskedPaths: host.MaskedPaths ?? ["/proc/asound"],
      Links: (host.Links ?? []).map((link) => {
        const [name = "", alias = name] = link.split(":");
        return `/${name}:/name/${alias}`;
      }),
    },
    Object.fromEntries(
      Object.entries(endpoints).map(([name, endpoint]) => [
        name,
        {
          ...endpoint,
          Aliases: [...(endpoint.Aliases ?? []), ...(newer ? [] : ["b6739b3ed9fb"])],
          MacAddress: newer ? (endpoint.MacAddress ?? "") : "",
        },
      ]),
    ),
  );
}

/** dockerd replaces the name of a container by its id. */
function byId(mode: string): string {
  return mode.startsWith("container:") ? `container:${otherId}` : mode;
}

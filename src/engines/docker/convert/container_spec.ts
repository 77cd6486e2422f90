/** Converts what a container is created with between messages and dockerd's JSON. */
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import type {
  ContainerSpec,
  LogConfig,
  RestartPolicy,
} from "../../../../gen/nap/v1/container_spec_pb.js";
import {
  ContainerSpecSchema,
  LogConfigSchema,
  RestartMode,
  RestartPolicySchema,
} from "../../../../gen/nap/v1/container_spec_pb.js";
import { environmentList, environmentMap } from "../../../engine/environment.js";
import { clientLabels } from "../../../engine/labels.js";
import type {
  ConfigJson,
  ContainerJson,
  CreateBodyJson,
  HostConfigJson,
  StringMap,
} from "../json.js";
import { wholeSeconds } from "../../../engine/time.js";
import { healthProbeFromDocker, healthProbeToDocker } from "./health_probe.js";
import { mountsFromDocker, mountsToDocker, volumesFromDocker } from "./mounts.js";
import type { DockerNetwork } from "./network.js";
import { endpointToDocker, networkFromDocker, networkToDocker } from "./network.js";
import {
  resourcesFromDocker,
  resourcesToDocker,
  ulimitsFromDocker,
  ulimitsToDocker,
} from "./resources.js";
import {
  deviceRulesFromDocker,
  devicesFromDocker,
  devicesToDocker,
  namespacesFromDocker,
  namespacesToDocker,
  securityFromDocker,
  securityToDocker,
} from "./security.js";

const restartModes: readonly [RestartMode, string][] = [
  [RestartMode.NO, "no"],
  [RestartMode.ON_FAILURE, "on-failure"],
  [RestartMode.ALWAYS, "always"],
  [RestartMode.UNLESS_STOPPED, "unless-stopped"],
];

/** A create call: its body, and the networks that are connected after it. */
export interface DockerCreate {
  readonly body: CreateBodyJson;
  readonly further: DockerNetwork["further"];
}

/** A spec as dockerd takes it. `ownLabels` are nap's. */
export function specToDocker(spec: ContainerSpec, ownLabels: StringMap): DockerCreate {
  const network = networkToDocker(spec.network);
  const { first } = network;
  return {
    body: {
      ...configToDocker(spec, ownLabels),
      ...network.config,
      // dockerd before 25 reads the container's MAC address, and later ones the endpoint's.
      ...(first?.endpoint?.macAddress && { MacAddress: first.endpoint.macAddress }),
      HostConfig: { ...hostConfigToDocker(spec), ...network.host },
      ...(first && {
        NetworkingConfig: {
          EndpointsConfig: { [first.network]: endpointToDocker(first.endpoint) },
        },
      }),
    },
    further: network.further,
  };
}

function configToDocker(spec: ContainerSpec, ownLabels: StringMap): ConfigJson {
  const { command, entrypoint, healthProbe } = spec;
  const stopTimeout = wholeSeconds("spec.stop_timeout", spec.stopTimeout);
  return {
    Image: spec.image,
    ...(command && { Cmd: command.arguments }),
    // dockerd takes one empty string for "reset the image's".
    ...(entrypoint && {
      Entrypoint: entrypoint.arguments.length > 0 ? entrypoint.arguments : [""],
    }),
    Env: environmentList(spec.environment),
    Labels: { ...spec.labels, ...ownLabels },
    ...(spec.workingDir !== undefined && { WorkingDir: spec.workingDir }),
    ...(spec.user !== undefined && { User: spec.user }),
    ...(spec.hostname !== undefined && { Hostname: spec.hostname }),
    ...(spec.domainname !== undefined && { Domainname: spec.domainname }),
    ...(spec.tty !== undefined && { Tty: spec.tty }),
    ...(spec.stdinOpen !== undefined && { OpenStdin: spec.stdinOpen }),
    ...(spec.stdinOnce !== undefined && { StdinOnce: spec.stdinOnce }),
    ...(spec.stopSignal !== undefined && { StopSignal: spec.stopSignal }),
    ...(stopTimeout !== undefined && { StopTimeout: stopTimeout }),
    ...(healthProbe && { Healthcheck: healthProbeToDocker(healthProbe) }),
  };
}

function hostConfigToDocker(spec: ContainerSpec): HostConfigJson {
  const { restartPolicy, logConfig } = spec;
  return {
    ...resourcesToDocker(spec.resources),
    ...mountsToDocker(spec.mounts, spec.volumesFrom),
    ...securityToDocker(spec.security),
    ...namespacesToDocker(spec.namespaces),
    ...devicesToDocker(spec),
    Ulimits: ulimitsToDocker(spec.ulimits),
    GroupAdd: spec.additionalGroups,
    Sysctls: spec.sysctls,
    ...(spec.autoRemove !== undefined && { AutoRemove: spec.autoRemove }),
    ...(spec.init !== undefined && { Init: spec.init }),
    ...(spec.oomScoreAdj !== undefined && { OomScoreAdj: spec.oomScoreAdj }),
    ...(spec.shmSizeBytes !== undefined && { ShmSize: Number(spec.shmSizeBytes) }),
    ...(spec.readOnlyRootFilesystem !== undefined && {
      ReadonlyRootfs: spec.readOnlyRootFilesystem,
    }),
    ...(spec.cgroupParent !== undefined && { CgroupParent: spec.cgroupParent }),
    ...(spec.runtime !== undefined && { Runtime: spec.runtime }),
    ...(restartPolicy && { RestartPolicy: restartToDocker(restartPolicy) }),
    ...(logConfig && { LogConfig: { Type: logConfig.driver ?? "", Config: logConfig.options } }),
  };
}

/** A restart policy as dockerd takes it. */
export function restartToDocker({ mode, maximumRetryCount }: RestartPolicy): {
  Name: string;
  MaximumRetryCount: number;
} {
  const Name = restartModes.find(([value]) => value === mode)?.[1] ?? "no";
  return { Name, MaximumRetryCount: maximumRetryCount ?? 0 };
}

/** What a container was created with, as dockerd reports it, nap's own labels left out. */
export function specFromDocker(json: ContainerJson): ContainerSpec {
  const { Config: config, HostConfig: host } = json;
  return create(ContainerSpecSchema, {
    image: config.Image ?? "",
    ...(config.Cmd && { command: { arguments: config.Cmd } }),
    ...(config.Entrypoint && { entrypoint: { arguments: config.Entrypoint } }),
    environment: environmentMap(config.Env),
    labels: clientLabels(config.Labels ?? {}),
    ...text({
      workingDir: config.WorkingDir,
      user: config.User,
      hostname: config.Hostname,
      domainname: config.Domainname,
      stopSignal: config.StopSignal,
      cgroupParent: host.CgroupParent,
      runtime: host.Runtime,
    }),
    ...(config.Tty && { tty: true }),
    ...(config.OpenStdin && { stdinOpen: true }),
    ...(config.StdinOnce && { stdinOnce: true }),
    ...(config.StopTimeout !== undefined && {
      stopTimeout: create(DurationSchema, { seconds: BigInt(config.StopTimeout) }),
    }),
    ...(host.Init != null && { init: host.Init }),
    ...(host.AutoRemove && { autoRemove: true }),
    ...(host.ReadonlyRootfs && { readOnlyRootFilesystem: true }),
    ...(host.OomScoreAdj && { oomScoreAdj: host.OomScoreAdj }),
    ...(host.ShmSize && { shmSizeBytes: BigInt(host.ShmSize) }),
    healthProbe: healthProbeFromDocker(config.Healthcheck),
    restartPolicy: restartFromDocker(host),
    logConfig: logConfigFromDocker(host),
    resources: resourcesFromDocker(host),
    ulimits: ulimitsFromDocker(host.Ulimits),
    network: networkFromDocker(json.Id, config, host, json.NetworkSettings.Networks),
    mounts: mountsFromDocker(host, config.Volumes),
    volumesFrom: volumesFromDocker(host.VolumesFrom),
    additionalGroups: host.GroupAdd ?? [],
    sysctls: host.Sysctls ?? {},
    devices: devicesFromDocker(host.Devices),
    deviceCgroupRules: deviceRulesFromDocker(host.DeviceCgroupRules),
    security: securityFromDocker(host),
    namespaces: namespacesFromDocker(host),
  });
}

/** The members that are not empty: dockerd reports what is unset as an empty string. */
function text<K extends string>(values: Record<K, string | undefined>): Partial<Record<K, string>> {
  const set = Object.entries<string | undefined>(values).filter(([, value]) => value);
  return Object.fromEntries(set) as Partial<Record<K, string>>;
}

function restartFromDocker({ RestartPolicy: policy }: HostConfigJson): RestartPolicy | undefined {
  const mode = restartModes.find(([, word]) => word === policy?.Name)?.[0];
  if (mode === undefined || mode === RestartMode.NO) return undefined;
  const count = policy?.MaximumRetryCount ?? 0;
  return create(RestartPolicySchema, { mode, ...(count > 0 && { maximumRetryCount: count }) });
}

function logConfigFromDocker({ LogConfig: log }: HostConfigJson): LogConfig | undefined {
  if (!log?.Type) return undefined;
  return create(LogConfigSchema, { driver: log.Type, options: log.Config ?? {} });
}

/** Converts what a container is created with between messages and dockerd's JSON. */
import { create } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import type {
  ContainerSpec,
  LogConfig,
  RestartPolicy,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import {
  ContainerSpecSchema,
  LogConfigSchema,
  RestartMode,
  RestartPolicySchema,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import { environmentList, environmentMap, unsetVariables } from "../../../../lib/env-vars.js";
import { imageOf } from "../../../../contract/container-source.js";
import { stripInternalLabels } from "../../../../contract/reserved-labels.js";
import type {
  ConfigJson,
  ContainerJson,
  CreateBodyJson,
  HostConfigJson,
  StringMap,
} from "../../json.js";
import { wholeSeconds } from "../../time.js";
import {
  deviceRequestsFromDocker,
  deviceRulesFromDocker,
  devicesFromDocker,
  devicesToDocker,
} from "./devices.js";
import { healthCheckFromDocker, healthCheckToDocker } from "./health-check.js";
import { mountsToDocker } from "./mounts.js";
import { mountsFromDocker, volumesFromDocker } from "./mounts-read.js";
import { namespacesFromDocker, namespacesToDocker } from "./namespaces.js";
import type { DockerNetwork } from "./network.js";
import {
  networkConfigFromDocker,
  networkNamespaceFromDocker,
  networksFromDocker,
  networkToDocker,
} from "./network.js";
import { platformFromLabels, platformLabels } from "../platform.js";
import {
  resourcesFromDocker,
  resourcesToDocker,
  ulimitsFromDocker,
  ulimitsToDocker,
} from "../resources/resources.js";
import { securityFromDocker, securityToDocker } from "../security/security.js";

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

/** Returns a spec in dockerd's request format for this API version. `ownLabels` are internal labels. */
export function specToDocker(
  spec: ContainerSpec,
  ownLabels: StringMap,
  apiVersion: string,
): DockerCreate {
  const network = networkToDocker(spec, apiVersion);
  return {
    body: {
      ...configToDocker(spec, ownLabels),
      ...network.config,
      HostConfig: { ...hostConfigToDocker(spec, apiVersion), ...network.host },
      ...(network.endpoints && { NetworkingConfig: { EndpointsConfig: network.endpoints } }),
    },
    further: network.further,
  };
}

function configToDocker(spec: ContainerSpec, ownLabels: StringMap): ConfigJson {
  const { command, entrypoint, healthCheck } = spec;
  const stopTimeout = wholeSeconds("spec.stop_timeout", spec.stopTimeout);
  return {
    Image: imageOf(spec),
    ...(command && { Cmd: command.arguments }),
    // dockerd takes one empty string for "reset the image's".
    ...(entrypoint && {
      Entrypoint: entrypoint.arguments.length > 0 ? entrypoint.arguments : [""],
    }),
    Env: [...environmentList(spec.environment), ...spec.unsetEnvironment],
    Labels: { ...spec.labels, ...ownLabels, ...platformLabels(spec.platform) },
    ...(spec.workingDir !== undefined && { WorkingDir: spec.workingDir }),
    ...(spec.user !== undefined && { User: spec.user }),
    ...(spec.hostname !== undefined && { Hostname: spec.hostname }),
    ...(spec.domainname !== undefined && { Domainname: spec.domainname }),
    ...(spec.tty !== undefined && { Tty: spec.tty }),
    ...(spec.stdinOpen !== undefined && { OpenStdin: spec.stdinOpen }),
    ...(spec.stdinOnce !== undefined && { StdinOnce: spec.stdinOnce }),
    ...(spec.stopSignal !== undefined && { StopSignal: spec.stopSignal }),
    ...(stopTimeout !== undefined && { StopTimeout: stopTimeout }),
    ...(healthCheck && { Healthcheck: healthCheckToDocker(healthCheck) }),
  };
}

function hostConfigToDocker(spec: ContainerSpec, apiVersion: string): HostConfigJson {
  const { restartPolicy, logConfig } = spec;
  return {
    ...resourcesToDocker(spec.resources),
    ...mountsToDocker(spec.mounts, spec.volumesFrom, apiVersion),
    ...securityToDocker(spec.security),
    ...namespacesToDocker(spec.namespaces),
    ...devicesToDocker(spec),
    Ulimits: ulimitsToDocker(spec.ulimits),
    GroupAdd: spec.additionalGroups,
    Sysctls: spec.sysctls,
    Annotations: spec.annotations,
    StorageOpt: spec.storageOptions,
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

/** Returns a restart policy in dockerd's request format. */
export function restartToDocker({ mode, maximumRetryCount }: RestartPolicy): {
  Name: string;
  MaximumRetryCount: number;
} {
  const Name = restartModes.find(([value]) => value === mode)?.[1] ?? "no";
  return { Name, MaximumRetryCount: maximumRetryCount ?? 0 };
}

/** Returns the spec of a container as dockerd reports it, without internal labels. */
export function specFromDocker(json: ContainerJson): ContainerSpec {
  const { Config: config, HostConfig: host } = json;
  return create(ContainerSpecSchema, {
    source: { case: "image", value: config.Image ?? "" },
    platform: platformFromLabels(config.Labels),
    ...(config.Cmd && { command: { arguments: config.Cmd } }),
    ...(config.Entrypoint && { entrypoint: { arguments: config.Entrypoint } }),
    environment: environmentMap(config.Env),
    unsetEnvironment: unsetVariables(config.Env),
    labels: stripInternalLabels(config.Labels ?? {}),
    ...text({
      workingDir: config.WorkingDir,
      user: config.User,
      // Unset it is the short id.
      hostname: isOwnHostname(json) ? config.Hostname : "",
      domainname: config.Domainname,
      stopSignal: config.StopSignal,
      cgroupParent: host.CgroupParent,
      runtime: host.Runtime,
    }),
    ...(config.Tty && { tty: true }),
    ...(config.OpenStdin && { stdinOpen: true }),
    ...(config.StdinOnce && { stdinOnce: true }),
    ...(config.StopTimeout != null && {
      stopTimeout: create(DurationSchema, { seconds: BigInt(config.StopTimeout) }),
    }),
    ...(host.Init != null && { init: host.Init }),
    ...(host.AutoRemove && { autoRemove: true }),
    ...(host.ReadonlyRootfs && { readOnlyRootFilesystem: true }),
    ...(host.OomScoreAdj && { oomScoreAdj: host.OomScoreAdj }),
    ...(host.ShmSize && { shmSizeBytes: BigInt(host.ShmSize) }),
    healthCheck: healthCheckFromDocker(config.Healthcheck),
    restartPolicy: restartFromDocker(host),
    logConfig: logConfigFromDocker(host),
    resources: resourcesFromDocker(host),
    ulimits: ulimitsFromDocker(host.Ulimits),
    networks: networksFromDocker(json),
    networkConfig: networkConfigFromDocker(json),
    mounts: mountsFromDocker(host, config.Volumes),
    volumesFrom: volumesFromDocker(host.VolumesFrom),
    additionalGroups: host.GroupAdd ?? [],
    sysctls: host.Sysctls ?? {},
    annotations: host.Annotations ?? {},
    storageOptions: host.StorageOpt ?? {},
    devices: devicesFromDocker(host.Devices),
    deviceCgroupRules: deviceRulesFromDocker(host.DeviceCgroupRules),
    deviceRequests: deviceRequestsFromDocker(host.DeviceRequests),
    security: securityFromDocker(host),
    namespaces: namespacesFromDocker(host, networkNamespaceFromDocker(json)),
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

/** Whether a container's host name was asked for, rather than made of its id or taken from elsewhere. */
function isOwnHostname({ Id, Config, HostConfig }: ContainerJson): boolean {
  const isShared =
    HostConfig.UTSMode === "host" || HostConfig.NetworkMode?.startsWith("container:");
  return !isShared && Config.Hostname !== Id.slice(0, 12);
}

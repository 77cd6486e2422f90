/** Converts devices between messages and dockerd's HostConfig. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type {
  ContainerSpec,
  DeviceCgroupRule,
  DeviceMapping,
  DevicePermissions,
  DevicePermissionsSchema,
  DeviceRequest,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import {
  DeviceCgroupRuleSchema,
  DeviceKind,
  DeviceMappingSchema,
  DeviceRequestSchema,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import { fieldError } from "../../../../contract/errors.js";
import type { DeviceJson, DeviceRequestJson, HostConfigJson } from "../../json.js";

/** Returns devices in dockerd's request format. */
export function devicesToDocker(spec: ContainerSpec): HostConfigJson {
  const { devices, deviceCgroupRules, deviceRequests } = spec;
  return {
    Devices: devices.map(({ hostPath, containerPath, permissions }) => ({
      PathOnHost: hostPath,
      PathInContainer: containerPath ?? hostPath,
      CgroupPermissions: permissions === undefined ? "rwm" : letters(permissions),
    })),
    DeviceCgroupRules: deviceCgroupRules.map(({ kind, major, minor, permissions }) =>
      [
        deviceKinds.find(([value]) => value === kind)?.[1] ?? "a",
        `${major ?? "*"}:${minor ?? "*"}`,
        permissions === undefined ? "rwm" : letters(permissions),
      ].join(" "),
    ),
    DeviceRequests: deviceRequests.map(requestToDocker),
  };
}

function requestToDocker(request: DeviceRequest): DeviceRequestJson {
  const { driver, selection, capabilities, options } = request;
  return {
    Driver: driver ?? "",
    Count: selection.case === "count" ? selection.value : selection.case === "devices" ? 0 : -1,
    DeviceIDs: selection.case === "devices" ? selection.value.ids : [],
    Capabilities: capabilities.map(({ names }) => names),
    Options: options,
  };
}

const deviceKinds: readonly [DeviceKind, string][] = [
  [DeviceKind.ALL, "a"],
  [DeviceKind.CHARACTER, "c"],
  [DeviceKind.BLOCK, "b"],
];

function letters({ read, write, makeNode }: DevicePermissions): string {
  if (!read && !write && !makeNode) {
    const description = "permissions of a device must allow something";
    throw fieldError([{ field: "spec.devices", description, reason: "FIELD_INVALID" }]);
  }
  return `${read ? "r" : ""}${write ? "w" : ""}${makeNode ? "m" : ""}`;
}

function permissionsOf(word: string): MessageInitShape<typeof DevicePermissionsSchema> {
  return {
    read: word.includes("r"),
    write: word.includes("w"),
    makeNode: word.includes("m"),
  };
}

/** Devices as dockerd reports them. */
export function devicesFromDocker(
  devices: readonly DeviceJson[] | null | undefined,
): DeviceMapping[] {
  return (devices ?? []).map(({ PathOnHost, PathInContainer, CgroupPermissions }) =>
    create(DeviceMappingSchema, {
      hostPath: PathOnHost,
      containerPath: PathInContainer,
      permissions: permissionsOf(CgroupPermissions),
    }),
  );
}

/** Device rules as dockerd reports them, for example "c 1:* rw". */
export function deviceRulesFromDocker(
  rules: readonly string[] | null | undefined,
): DeviceCgroupRule[] {
  return (rules ?? []).map((rule) => {
    const [word = "", numbers = "", permissions = ""] = rule.split(" ");
    const [major = "*", minor = "*"] = numbers.split(":");
    return create(DeviceCgroupRuleSchema, {
      kind: deviceKinds.find(([, letter]) => letter === word)?.[0] ?? DeviceKind.ALL,
      ...(major !== "*" && { major: Number(major) }),
      ...(minor !== "*" && { minor: Number(minor) }),
      permissions: permissionsOf(permissions),
    });
  });
}

/** Requests of devices as dockerd reports them. */
export function deviceRequestsFromDocker(
  requests: readonly DeviceRequestJson[] | null | undefined,
): DeviceRequest[] {
  return (requests ?? []).map(({ Driver, Count = 0, DeviceIDs, Capabilities, Options }) =>
    create(DeviceRequestSchema, {
      ...(Driver && { driver: Driver }),
      selection: selectionFromDocker(Count, DeviceIDs ?? []),
      capabilities: (Capabilities ?? []).map((names) => ({ names })),
      options: Options ?? {},
    }),
  );
}

function selectionFromDocker(
  count: number,
  ids: string[],
): NonNullable<MessageInitShape<typeof DeviceRequestSchema>["selection"]> {
  if (count < 0) return { case: "allDevices", value: {} };
  return count > 0 ? { case: "count", value: count } : { case: "devices", value: { ids } };
}

/** Converts privileges, namespaces and devices between messages and dockerd's HostConfig. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create, fromJsonString, toJson } from "@bufbuild/protobuf";
import type {
  ContainerSpec,
  DeviceCgroupRule,
  DeviceMapping,
  DevicePermissions,
  DevicePermissionsSchema,
  IpcNamespaceSchema,
  Namespaces,
  PidNamespaceSchema,
  SeccompProfile,
  Security,
} from "../../../../gen/nap/v1/container_spec_pb.js";
import {
  DeviceCgroupRuleSchema,
  DeviceKind,
  DeviceMappingSchema,
  NamespaceMode,
  NamespacesSchema,
  SeccompProfileSchema,
  SecuritySchema,
} from "../../../../gen/nap/v1/container_spec_pb.js";
import { fieldError } from "../../../engine/error.js";
import type { DeviceJson, HostConfigJson } from "../json.js";

/** Privileges and confinement as dockerd takes them. */
export function securityToDocker(security: Security | undefined): HostConfigJson {
  if (security === undefined) return {};
  const options = [
    ...(security.noNewPrivileges === undefined
      ? []
      : [`no-new-privileges:${security.noNewPrivileges}`]),
    ...(security.seccomp.case === "seccompUnconfined" ? ["seccomp=unconfined"] : []),
    ...(security.seccomp.case === "seccompProfile"
      ? [`seccomp=${seccompToDocker(security.seccomp.value)}`]
      : []),
    ...(security.apparmorProfile === undefined ? [] : [`apparmor=${security.apparmorProfile}`]),
  ];
  return {
    ...(security.privileged !== undefined && { Privileged: security.privileged }),
    CapAdd: security.capabilitiesAdd,
    CapDrop: security.capabilitiesDrop,
    SecurityOpt: options,
    ...(security.maskedPaths && { MaskedPaths: security.maskedPaths.paths }),
    ...(security.readOnlyPaths && { ReadonlyPaths: security.readOnlyPaths.paths }),
  };
}

/** The members of a profile that dockerd reads as numbers, and the contract's JSON has as strings. */
const seccompNumbers = new Set(["value", "valueTwo"]);

/** A profile in the JSON that Docker documents, which the contract's own JSON is but for 64-bit numbers. */
function seccompToDocker(profile: SeccompProfile): string {
  return JSON.stringify(toJson(SeccompProfileSchema, profile), (key, value: unknown) =>
    seccompNumbers.has(key) ? Number(value) : value,
  );
}

/** dockerd reports a profile as it was given, by whomever. */
function seccompFromDocker(text: string): SeccompProfile {
  return fromJsonString(SeccompProfileSchema, text, { ignoreUnknownFields: true });
}

/** Privileges and confinement as dockerd reports them. Undefined: nothing but its defaults. */
export function securityFromDocker(host: HostConfigJson): Security | undefined {
  const init: MessageInitShape<typeof SecuritySchema> = {};
  if (host.Privileged) init.privileged = true;
  if (host.CapAdd?.length) init.capabilitiesAdd = host.CapAdd.map(capability);
  if (host.CapDrop?.length) init.capabilitiesDrop = host.CapDrop.map(capability);
  if (host.MaskedPaths) init.maskedPaths = { paths: host.MaskedPaths };
  if (host.ReadonlyPaths) init.readOnlyPaths = { paths: host.ReadonlyPaths };
  for (const option of host.SecurityOpt ?? []) {
    const [, name, value] = /^([a-z-]+)(?:[=:](.*))?$/s.exec(option) ?? [];
    if (name === "no-new-privileges") init.noNewPrivileges = value !== "false";
    if (name === "apparmor" && value) init.apparmorProfile = value;
    if (name === "seccomp" && value === "unconfined") {
      init.seccomp = { case: "seccompUnconfined", value: {} };
    } else if (name === "seccomp" && value?.startsWith("{")) {
      init.seccomp = { case: "seccompProfile", value: seccompFromDocker(value) };
    }
  }
  return Object.keys(init).length === 0 ? undefined : create(SecuritySchema, init);
}

/** dockerd reports capabilities with their prefix, whatever its client wrote. */
function capability(name: string): string {
  return name.replace(/^CAP_/, "");
}

const modes: readonly [NamespaceMode, string][] = [
  [NamespaceMode.HOST, "host"],
  [NamespaceMode.PRIVATE, "private"],
];

/** Namespaces as dockerd takes them. */
export function namespacesToDocker(namespaces: Namespaces | undefined): HostConfigJson {
  if (namespaces === undefined) return {};
  const { pid, ipc, uts, user, cgroup } = namespaces;
  const cgroupMode = modes.find(([value]) => value === cgroup)?.[1];
  return {
    ...(pid && { PidMode: pid.mode.case === "isolated" ? "" : sharedMode(pid.mode) }),
    ...(ipc && { IpcMode: ipc.mode.case === "isolated" ? "private" : sharedMode(ipc.mode) }),
    ...(uts === NamespaceMode.HOST && { UTSMode: "host" }),
    ...(user === NamespaceMode.HOST && { UsernsMode: "host" }),
    ...(cgroupMode && { CgroupnsMode: cgroupMode }),
  };
}

function sharedMode(mode: { case: string | undefined; value?: unknown }): string {
  return mode.case === "container" ? `container:${String(mode.value)}` : (mode.case ?? "");
}

/** Namespaces as dockerd reports them. Undefined: nothing but its defaults. */
export function namespacesFromDocker(host: HostConfigJson): Namespaces | undefined {
  const init: MessageInitShape<typeof NamespacesSchema> = {};
  const pid = sharedFromDocker(host.PidMode);
  if (pid !== undefined) init.pid = { mode: pid } as MessageInitShape<typeof PidNamespaceSchema>;
  const ipc = sharedFromDocker(host.IpcMode);
  if (ipc !== undefined) init.ipc = { mode: ipc } as MessageInitShape<typeof IpcNamespaceSchema>;
  if (host.UTSMode === "host") init.uts = NamespaceMode.HOST;
  if (host.UsernsMode === "host") init.user = NamespaceMode.HOST;
  const cgroup = modes.find(([, word]) => word === host.CgroupnsMode)?.[0];
  if (cgroup !== undefined) init.cgroup = cgroup;
  return Object.keys(init).length === 0 ? undefined : create(NamespacesSchema, init);
}

function sharedFromDocker(word: string | undefined): { case: string; value: unknown } | undefined {
  if (word === undefined || word === "") return undefined;
  const container = /^container:(.+)$/.exec(word)?.[1];
  if (container !== undefined) return { case: "container", value: container };
  return { case: word === "private" ? "isolated" : word, value: {} };
}

/** Devices as dockerd takes them. */
export function devicesToDocker({ devices, deviceCgroupRules }: ContainerSpec): HostConfigJson {
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
    throw fieldError([{ field: "spec.devices", description, kind: "FIELD_INVALID" }]);
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

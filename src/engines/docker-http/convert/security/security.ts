/** Converts privileges and confinement between messages and dockerd's HostConfig. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { Security, SelinuxLabel } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { SecuritySchema, SelinuxLabelSchema } from "../../../../../gen/nap/v1/container_spec_pb.js";
import type { HostConfigJson } from "../../json.js";
import { seccompFromDocker, seccompToDocker } from "./seccomp.js";

/** Returns privileges and confinement in dockerd's request format. */
export function securityToDocker(security: Security | undefined): HostConfigJson {
  if (security === undefined) return {};
  return {
    ...(security.privileged !== undefined && { Privileged: security.privileged }),
    CapAdd: security.capabilitiesAdd,
    CapDrop: security.capabilitiesDrop,
    SecurityOpt: [...options(security)],
    ...(security.maskedPaths && { MaskedPaths: security.maskedPaths.paths }),
    ...(security.readOnlyPaths && { ReadonlyPaths: security.readOnlyPaths.paths }),
  };
}

function* options(security: Security): Generator<string> {
  const { noNewPrivileges, seccomp, apparmorProfile, selinux } = security;
  if (noNewPrivileges !== undefined) yield `no-new-privileges:${noNewPrivileges}`;
  if (seccomp.case === "seccompUnconfined") yield "seccomp=unconfined";
  if (seccomp.case === "seccompProfile") yield `seccomp=${seccompToDocker(seccomp.value)}`;
  if (apparmorProfile !== undefined) yield `apparmor=${apparmorProfile}`;
  if (selinux.case === "selinuxDisabled") yield "label=disable";
  if (selinux.case === "selinuxLabel") {
    for (const [member, word] of labelParts) {
      const value = selinux.value[member];
      if (value !== undefined) yield `label=${word}:${value}`;
    }
  }
}

/** The parts of a label and dockerd's names for them. */
const labelParts: readonly [Exclude<keyof SelinuxLabel, `$${string}`>, word: string][] = [
  ["user", "user"],
  ["role", "role"],
  ["domainType", "type"],
  ["level", "level"],
];

/** Privileges and confinement as dockerd reports them. Undefined: nothing but its defaults. */
export function securityFromDocker(host: HostConfigJson): Security | undefined {
  const init: MessageInitShape<typeof SecuritySchema> = {};
  if (host.Privileged) init.privileged = true;
  if (host.CapAdd?.length) init.capabilitiesAdd = host.CapAdd.map(capability);
  if (host.CapDrop?.length) init.capabilitiesDrop = host.CapDrop.map(capability);
  if (host.MaskedPaths) init.maskedPaths = { paths: host.MaskedPaths };
  if (host.ReadonlyPaths) init.readOnlyPaths = { paths: host.ReadonlyPaths };
  const label = create(SelinuxLabelSchema);
  for (const option of host.SecurityOpt ?? []) {
    const [, name, value = ""] = /^([a-z-]+)(?:[=:](.*))?$/s.exec(option) ?? [];
    if (name === "no-new-privileges") init.noNewPrivileges = value !== "false";
    if (name === "apparmor" && value) init.apparmorProfile = value;
    const seccomp = name === "seccomp" && seccompOption(value);
    if (seccomp) init.seccomp = seccomp;
    if (name === "label" && value === "disable" && !labelledByDocker(host)) {
      init.selinux = { case: "selinuxDisabled", value: {} };
    }
    const part = name === "label" && labelParts.find(([, word]) => value.startsWith(`${word}:`));
    if (part) {
      label[part[0]] = value.slice(part[1].length + 1);
      init.selinux = { case: "selinuxLabel", value: label };
    }
  }
  return Object.keys(init).length === 0 ? undefined : create(SecuritySchema, init);
}

/** dockerd itself adds `label=disable` to these, also where the host has no SELinux. */
function labelledByDocker({ Privileged, PidMode, IpcMode }: HostConfigJson): boolean {
  return Privileged === true || PidMode === "host" || IpcMode === "host";
}

function seccompOption(value: string): MessageInitShape<typeof SecuritySchema>["seccomp"] {
  if (value === "unconfined") return { case: "seccompUnconfined", value: {} };
  const profile = value.startsWith("{") ? seccompFromDocker(value) : undefined;
  return profile && { case: "seccompProfile", value: profile };
}

/** dockerd reports capabilities as its client wrote them (20.10), or with their prefix (later). */
function capability(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, "");
}

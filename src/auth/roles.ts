/** Authorizes calls by the role and the permissions of the identity. */
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { PullPolicy } from "../../gen/nap/v1/container_service_pb.js";
import type { ContainerSpec } from "../../gen/nap/v1/container_spec_pb.js";
import { clip, firstOf, maxReportedViolations } from "../contract/errors.js";
import type { Identity, Role } from "./identity.js";
import { denied, matchesAny } from "./identity.js";

/** The minimum role for each method. A method not listed here is denied to everyone. */
const methodRoles: Readonly<Record<Role, readonly string[]>> = {
  // Reading resources, their output and their events.
  read: [
    "GetContainer",
    "GetDiskUsage",
    "GetEngine",
    "GetEngineCapabilities",
    "GetImage",
    "GetImageHistory",
    "GetNetwork",
    "GetVolume",
    "ListContainerChanges",
    "ListContainerProcesses",
    "ListContainers",
    "ListEngines",
    "ListImages",
    "ListNetworks",
    "ListVolumes",
    "StatContainerPath",
    "StreamContainerLogs",
    "StreamContainerStats",
    "StreamEvents",
    "WaitContainer",
    "WatchContainers",
  ],
  // Changing resources, and reading files of containers.
  operate: [
    "AttachContainer",
    "BuildImage",
    "CommitContainer",
    "ConnectContainer",
    "CreateContainer",
    "CreateNetwork",
    "CreateVolume",
    "DisconnectContainer",
    "ExecContainer",
    "ExecContainerSync",
    "ExportContainer",
    "ImportImage",
    "KillContainer",
    "LoadImages",
    "PauseContainer",
    "PullImage",
    "PushImage",
    "ReadContainerArchive",
    "RemoveContainer",
    "RemoveImage",
    "RemoveNetwork",
    "RemoveVolume",
    "RenameContainer",
    "ResizeContainerTerminal",
    "RestartContainer",
    "RunContainer",
    "SaveImages",
    "StartContainer",
    "StopContainer",
    "TagImage",
    "UnpauseContainer",
    "UpdateContainer",
    "WriteContainerArchive",
  ],
  // Removing unused resources of all owners.
  admin: ["PruneContainers", "PruneImages", "PruneNetworks", "PruneVolumes"],
};

/** The methods that add or remove images, on the engine or at a registry. */
const imageChanges: ReadonlySet<string> = new Set([
  "BuildImage",
  "CommitContainer",
  "ImportImage",
  "LoadImages",
  "PruneImages",
  "PullImage",
  "PushImage",
  "RemoveImage",
  "TagImage",
]);

const ranks: readonly Role[] = ["read", "operate", "admin"];

/** Returns the minimum role for a method; undefined if it is not in the table. */
export function roleFor({ name }: Pick<DescMethod, "name">): Role | undefined {
  return ranks.find((role) => methodRoles[role].includes(name));
}

/** Fails with PERMISSION_DENIED if the identity may not call this method. */
export function authorizeMethod(identity: Identity, method: DescMethod): void {
  const role = roleFor(method);
  if (role === undefined || ranks.indexOf(identity.role) < ranks.indexOf(role)) {
    throw denied(
      identity,
      role === undefined
        ? `no role may call ${method.name}`
        : `${method.name} requires the role ${role}`,
    );
  }
  if (imageChanges.has(method.name) && !identity.imageChanges) {
    throw denied(identity, `${method.name} changes images, which it may not`);
  }
}

/**
 * Fails with PERMISSION_DENIED if a request asks for something that the identity may not have.
 * `privileged` is iterated only if the identity may not set such fields, and only as far as the error
 * reports them.
 */
export function authorizeRequest(
  identity: Identity,
  request: Message & { readonly pullPolicy?: PullPolicy; readonly spec?: unknown },
  privileged: Iterable<string>,
): void {
  const forbidden = identity.privilegedOptions ? [] : firstOf(privileged);
  if (forbidden.length > 0) {
    const reported = forbidden.slice(0, maxReportedViolations).map((field) => clip(field));
    const more = forbidden.length > reported.length ? " and more" : "";
    throw denied(
      identity,
      `it may not set options that reach the host: ${reported.join(", ")}${more}`,
    );
  }
  // With the other policies only the engine finds out whether a pull is needed.
  if (request.pullPolicy === PullPolicy.ALWAYS && !identity.imageChanges) {
    throw denied(identity, "pull_policy: it changes images, which it may not");
  }
  const { mounts = [], source: from } = (request.spec ?? {}) as Partial<ContainerSpec>;
  if (from?.case === "rootFilesystem" && from.value.origin.case === "bindRoot") {
    requireBindRoot(identity, "spec.root_filesystem", from.value.origin.value.root);
  }
  for (const [index, { source }] of mounts.entries()) {
    if (source.case !== "bind" || source.value.origin.case !== "bindRoot") continue;
    requireBindRoot(identity, `spec.mounts[${index}]`, source.value.origin.value.root);
  }
}

function requireBindRoot(identity: Identity, at: string, root: string): void {
  if (matchesAny(identity.bindRoots, root)) return;
  throw denied(identity, `${at}: it may not use the bind root "${clip(root)}"`);
}

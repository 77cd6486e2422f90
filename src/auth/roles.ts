/** Decides whether an identity may make a call, before anything else is looked at. */
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { PullPolicy } from "../../gen/nap/v1/container_service_pb.js";
import type { ContainerSpec } from "../../gen/nap/v1/container_spec_pb.js";
import { clip, firstOf, maxReportedViolations } from "../contract/errors.js";
import type { Identity, Role } from "./identity.js";
import { denied, matchesAny } from "./identity.js";

/** The least role that each method takes. A method that is missing here is nobody's. */
const methodRoles: Readonly<Record<Role, readonly string[]>> = {
  // Looking at resources, at what they write and at what happens to them.
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
  // Changing resources, and taking files out of them.
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
  // Removing whatever nobody uses.
  admin: ["PruneContainers", "PruneImages", "PruneNetworks", "PruneVolumes"],
};

/** The methods that change what images there are, here or at a registry. */
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

/** The least role that a method takes. Undefined: it is missing in the table. */
export function roleFor({ name }: Pick<DescMethod, "name">): Role | undefined {
  return ranks.find((role) => methodRoles[role].includes(name));
}

/** Fails with PERMISSION_DENIED where the identity may not call this method. */
export function authorizeMethod(identity: Identity, method: DescMethod): void {
  const role = roleFor(method);
  if (role === undefined || ranks.indexOf(identity.role) < ranks.indexOf(role)) {
    throw denied(identity, `${method.name} takes the role ${role ?? "of nobody"}`);
  }
  if (imageChanges.has(method.name) && !identity.imageChanges) {
    throw denied(identity, `${method.name} changes images, which it may not`);
  }
}

/**
 * Fails with PERMISSION_DENIED where a request asks for what the identity may not have. `privileged` is
 * read only for an identity that may not set such fields, and no further than is told.
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
  // Whether the others pull is found out only where the engine looks for the image.
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

/** Converts namespaces between messages and dockerd's HostConfig. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type {
  IsolatedNamespace,
  Namespace,
  Namespaces,
  NamespaceSchema,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import { NamespacesSchema } from "../../../../../gen/nap/v1/container_spec_pb.js";
import type { HostConfigJson } from "../../json.js";

/**
 * Returns namespaces in dockerd's request format. Modes that it does not have are in the table of
 * unsupported features.
 */
export function namespacesToDocker(namespaces: Namespaces | undefined): HostConfigJson {
  const { pid, ipc, uts, user, cgroup } = namespaces ?? {};
  return {
    ...(pid && { PidMode: namespaceMode(pid, "") }),
    ...(ipc && { IpcMode: namespaceMode(ipc, isolatedIpc(ipc)) }),
    ...(uts && { UTSMode: namespaceMode(uts, "") }),
    ...(user && { UsernsMode: namespaceMode(user, "") }),
    ...(cgroup && { CgroupnsMode: namespaceMode(cgroup, "private") }),
  };
}

/** A namespace in dockerd's words. `isolated` is its word for one of the container's own. */
export function namespaceMode({ mode }: Namespace, isolated: string): string {
  switch (mode.case) {
    case "isolated":
      return isolated;
    case "host":
      return "host";
    case "container":
      return `container:${mode.value}`;
    default:
      throw new RangeError(`a namespace of mode ${mode.case} passed the support check`);
  }
}

function isolatedIpc({ mode }: Namespace): string {
  const { shareable, withoutShm } = (mode.value ?? {}) as Partial<IsolatedNamespace>;
  return withoutShm ? "none" : shareable ? "shareable" : "private";
}

/**
 * Namespaces as dockerd reports them. That of the network is read with the networks. Undefined: nothing
 * but its defaults.
 */
export function namespacesFromDocker(
  host: HostConfigJson,
  network: Namespace | undefined,
): Namespaces | undefined {
  const set = Object.entries({
    pid: namespaceFromMode(host.PidMode),
    ipc: namespaceFromMode(host.IpcMode),
    uts: namespaceFromMode(host.UTSMode),
    user: namespaceFromMode(host.UsernsMode),
    cgroup: namespaceFromMode(host.CgroupnsMode),
    network,
  }).filter(([, namespace]) => namespace !== undefined);
  return set.length === 0 ? undefined : create(NamespacesSchema, Object.fromEntries(set));
}

/** A namespace by dockerd's word for it. Undefined: its default. */
export function namespaceFromMode(
  word: string | undefined,
): MessageInitShape<typeof NamespaceSchema> | undefined {
  const container = /^container:(.+)$/.exec(word ?? "")?.[1];
  if (container !== undefined) return { mode: { case: "container", value: container } };
  switch (word) {
    case "host":
      return { mode: { case: "host", value: {} } };
    case "private":
      return { mode: { case: "isolated", value: {} } };
    case "shareable":
      return { mode: { case: "isolated", value: { shareable: true } } };
    case "none":
      return { mode: { case: "isolated", value: { withoutShm: true } } };
    default:
      return undefined;
  }
}

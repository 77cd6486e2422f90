/** Converts namespaces between messages and dockerd's HostConfig. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type {
  IpcNamespaceSchema,
  Namespaces,
  PidNamespaceSchema,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import { NamespaceMode, NamespacesSchema } from "../../../../../gen/nap/v1/container_spec_pb.js";
import type { HostConfigJson } from "../../json.js";

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

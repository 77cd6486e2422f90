/**
 * Maps dockerd's errors to reasons of the contract.
 *
 * The operation and the status code determine the reason, then an inspection of the object; the daemon's
 * message does so only if there is nothing else. The tables here have all such messages, as dockerd
 * 20.10.24 and, where it differs, 26.1.5 writes them.
 */
import type { Reason } from "../../contract/errors.js";
import { fieldError, NapError } from "../../contract/errors.js";
import { DockerStatusError } from "../docker-http/client.js";

/** The reasons for the errors of one operation, in addition to those common to all operations. */
export interface Operation {
  /**
   * The reason by status. For status 400 without a reason, {@link Operation.field} is reported as invalid.
   */
  readonly reasons?: Readonly<Record<number, Reason>>;
  /** True if the daemon connects to a registry for it. */
  readonly registry?: boolean;
  /** The resource to report by reason, if it is not the one that the call names. */
  readonly resources?: Partial<Record<Reason, string>>;
  /** The request's field to which the daemon's "bad parameter" errors apply. */
  readonly field?: string;
}

/** Messages that have the same reason in every operation. */
const anywhere: readonly [words: RegExp, reason: Reason][] = [
  [/^[mM]ultiple IDs found with provided prefix|is ambiguous/, "AMBIGUOUS_ID"],
  [/port is already allocated|address already in use/, "HOST_PORT_IN_USE"],
  [
    /exec: .*: (executable file not found|stat .*: (no such file|not a directory))/,
    "COMMAND_NOT_FOUND",
  ],
  [/exec: .*: permission denied/, "COMMAND_NOT_EXECUTABLE"],
  [/^No such container/, "CONTAINER_NOT_FOUND"],
  [/^[nN]o such image/, "IMAGE_NOT_FOUND"],
  [/^network .* not found$/, "NETWORK_NOT_FOUND"],
  [/bind source path does not exist/, "BIND_SOURCE_NOT_FOUND"],
  [/error looking up volume plugin/, "VOLUME_DRIVER_NOT_FOUND"],
  [/Pool overlaps with other one/, "SUBNET_OVERLAP"],
  [/endpoint with name .* already exists/, "ENDPOINT_EXISTS"],
  [/no such exec/i, "EXEC_NOT_FOUND"],
  [/is a pre-defined network|predefined .* network/, "NETWORK_BUILT_IN"],
  [/operation is already running$/, "OPERATION_IN_PROGRESS"],
  [/^Could not find the file |^lstat .*: not a directory$/, "PATH_NOT_FOUND"],
  [/extraction point is not a directory/, "PATH_NOT_DIRECTORY"],
  [/(rootfs|volume) is marked read-only/, "PATH_READ_ONLY"],
  [/cannot overwrite (non-)?directory/, "FILE_TYPE_CONFLICT"],
  // The kernel says the same of a control group without processors and of too many inotify watches.
  [/^(?!.*(cgroup|cpuset|inotify)).*no space left on device/s, "ENGINE_DISK_FULL"],
  [/archive\/tar|Error processing tar file/, "ARCHIVE_INVALID"],
  // An archive of something else than images.
  [/docker-import-\d+\/\S+: no such file/, "ARCHIVE_INVALID"],
];

/** Messages that result from a registry's response or from its absence. */
const fromRegistry: readonly [words: RegExp, reason: Reason][] = [
  [/no basic auth credentials|unauthorized|authentication required/, "REGISTRY_AUTH_REQUIRED"],
  [/(^|: )denied(:|$)|HTTP 403|403 Forbidden/, "REGISTRY_AUTH_REQUIRED"],
  [/dial (tcp|udp|unix)|i\/o timeout|TLS handshake|x509: /, "REGISTRY_UNREACHABLE"],
];

/** Messages that identify the invalid field in a request with a container's or network's spec. */
const fields: readonly [words: RegExp, field: string][] = [
  [/(^M|m)inimum memory limit/, "spec.resources.memory_limit_bytes"],
  [/memoryswap limit/, "spec.resources.swap_limit_bytes"],
  [/memory reservation/, "spec.resources.memory_reservation_bytes"],
  [/memory swappiness/, "spec.resources.memory_swappiness"],
  [/cfs quota/, "spec.resources.cpu_quota_micros"],
  [/cfs period/, "spec.resources.cpu_period_micros"],
  [/Requested CPUs|Invalid value .* for cpuset cpus/, "spec.resources.cpuset_cpus"],
  [/Requested memory nodes|for cpuset mems/, "spec.resources.cpuset_mems"],
  [/invalid CapAdd/, "spec.security.capabilities_add"],
  [/invalid CapDrop/, "spec.security.capabilities_drop"],
  [/logging plugin|log opt|logging driver/, "spec.log_config"],
  [/[sS]torage.?opt/, "spec.storage_options"],
  [/could not select device driver/, "spec.device_requests"],
  [/mount config|mount point|invalid mode|volume name/, "spec.mounts"],
  [/Unknown runtime|unknown or invalid runtime name/, "spec.runtime"],
  [/working directory/, "spec.working_dir"],
  [/Healthcheck/, "spec.health_check"],
  [/AutoRemove/, "spec.auto_remove"],
  [/depends on a configuration network/, "spec.config_from"],
  // A number that JSON cannot carry whole.
  [/cannot unmarshal number/, "spec"],
  [/restart policy|retry count/, "spec.restart_policy"],
  [/No command specified/, "spec.command"],
  [/unable to find (user|group)/, "spec.user"],
  [/hostname/, "spec.hostname"],
  [/reference format|tag format/, "spec.image"],
  [/[sS]ignal/, "spec.stop_signal"],
  [/Invalid subnet|invalid CIDR|Requested address|IPv[46] address/, "spec.ipam"],
  [/user specified IP address|does not belong to any/, "spec.networks"],
];

/** Returns the NapError for an error status of dockerd. Other errors are returned unchanged. */
export function mapDockerError(error: unknown, resource: string, operation: Operation): unknown {
  if (!(error instanceof DockerStatusError)) return error;
  const { status, message } = error;
  const tables = operation.registry ? [...anywhere, ...fromRegistry] : anywhere;
  const reason = tables.find(([words]) => words.test(message))?.[1] ?? operation.reasons?.[status];
  const field = reason === undefined ? fieldAtFault(error, operation.field) : undefined;
  if (field !== undefined) {
    return fieldError([{ field, description: message, reason: "FIELD_INVALID" }], error);
  }
  const known = reason ?? "ENGINE_ERROR";
  const missing = /^No such container: (\S+)$/.exec(message)?.[1];
  const at = missing ?? operation.resources?.[known] ?? resource;
  return new NapError(known, `${at}: ${message}`, { resource: at, engineMessage: message }, error);
}

/** Returns the error of a failed build. `exitCode` is that of the failed step, if there is one. */
export function buildError(
  error: DockerStatusError,
  exitCode: number | undefined,
  lastOutput: string,
): unknown {
  const operation = { reasons: { 500: "BUILD_FAILED" }, registry: true } as const;
  // The message contains the text of the step, which may match any pattern.
  const known = exitCode ? undefined : mapDockerError(error, "the build", operation);
  if (known instanceof NapError && known.reason !== "BUILD_FAILED") return known;
  const output = lastOutput.trim();
  const engineMessage = output === "" ? error.message : `${error.message}\n${output}`;
  const step = exitCode ? `a step exited with ${exitCode}` : error.message;
  const message = `the build failed: ${step}${output === "" ? "" : `; it wrote last: ${output}`}`;
  return new NapError("BUILD_FAILED", message, { engineMessage }, error);
}

/** Words that name a reference as the parameter at fault. */
const referenceWords = /invalid (reference|tag) format|repository name must/;

function fieldAtFault({ status, message }: DockerStatusError, field?: string): string | undefined {
  const named = field === "spec" ? fields.find(([words]) => words.test(message))?.[1] : undefined;
  // dockerd 20.10 answers 500 for a reference that it cannot parse.
  const isReference = field === "reference" && referenceWords.test(message);
  return named ?? (status === 400 || isReference ? field : undefined);
}

/** Awaits a call of dockerd, and throws its error mapped by {@link mapDockerError}. */
export async function withDockerErrors<T>(
  call: Promise<T>,
  resource: string,
  operation: Operation,
): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw mapDockerError(error, resource, operation);
  }
}

/** Whether an error is dockerd's answer that the container is not attached to the network. */
export function isNotAttached(error: unknown): boolean {
  return (
    error instanceof DockerStatusError && /is not connected to (the )?network/.test(error.message)
  );
}

/** Whether an error is dockerd's answer with this status. */
export function hasStatus(error: unknown, status: number): boolean {
  return error instanceof DockerStatusError && error.status === status;
}

/** Converts mounts from messages to dockerd's HostConfig; mounts_read.ts goes the other way. */
import type {
  Mount,
  TmpfsMount,
  VolumesFrom,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import {
  MountPropagation,
  RecursiveReadOnly,
  SelinuxRelabel,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import { fieldError } from "../../../../contract/errors.js";
import { rejectDuplicateTargets } from "../../../../core/mounts/targets.js";
import { isAtLeast } from "../../api-version.js";
import type { HostConfigJson, MountJson } from "../../json.js";

/** How mounts spread, and dockerd's names for it. */
export const propagations: readonly [MountPropagation, string][] = [
  [MountPropagation.PRIVATE, "private"],
  [MountPropagation.RPRIVATE, "rprivate"],
  [MountPropagation.SHARED, "shared"],
  [MountPropagation.RSHARED, "rshared"],
  [MountPropagation.SLAVE, "slave"],
  [MountPropagation.RSLAVE, "rslave"],
];

/** How sources are labelled, and dockerd's names for it. */
export const relabels: readonly [SelinuxRelabel, string][] = [
  [SelinuxRelabel.SHARED, "z"],
  [SelinuxRelabel.EXCLUSIVE, "Z"],
];

type MountHostConfig = Pick<HostConfigJson, "Binds" | "Mounts" | "Tmpfs" | "VolumesFrom">;

/**
 * Returns mounts in dockerd's request format. Fails if two mounts have the same target, which dockerd does
 * not always detect.
 */
export function mountsToDocker(
  mounts: readonly Mount[],
  volumesFrom: readonly VolumesFrom[],
  apiVersion: string,
): MountHostConfig {
  rejectDuplicateTargets(mounts);
  for (const [index, mount] of mounts.entries())
    rejectIgnoredOptions(`spec.mounts[${index}]`, mount);
  // Only the older forms take options of a tmpfs, relabel, and in old daemons make a missing source.
  const tmpfs = mounts.filter(({ source }) => hasOptions(source));
  const binds = mounts.filter((mount) => isOlderBind(mount, apiVersion));
  const older = new Set([...tmpfs, ...binds]);
  return {
    Mounts: mounts
      .filter((mount) => !older.has(mount))
      .map((mount) => mountToDocker(mount, apiVersion)),
    Binds: binds.map((mount) => bindToDocker(`spec.mounts[${mounts.indexOf(mount)}].bind`, mount)),
    Tmpfs: Object.fromEntries(tmpfs.map((mount) => [mount.target, tmpfsOptions(mount)])),
    VolumesFrom: volumesFrom.map(({ container, readOnly }) =>
      readOnly === undefined ? container : `${container}:${readOnly ? "ro" : "rw"}`,
    ),
  };
}

/** Rejects options that dockerd would accept and not apply. */
function rejectIgnoredOptions(at: string, { readOnly, source }: Mount): void {
  if (source.case === "image" && readOnly === false) {
    const description = "the file system of an image cannot be written";
    const field = `${at}.read_only`;
    throw fieldError([{ field, description, reason: "FIELD_UNSUPPORTED" }]);
  }
  if (source.case === "bind" && source.value.selinuxRelabel && !source.value.createHostPath) {
    const description = "Docker relabels only what it may make: set create_host_path";
    const field = `${at}.bind.selinux_relabel`;
    throw fieldError([{ field, description, reason: "FIELD_UNSUPPORTED" }]);
  }
}

function hasOptions(source: Mount["source"]): boolean {
  // The newer form takes permissions of 0 for unset.
  return (
    source.case === "tmpfs" && (source.value.options.length > 0 || source.value.permissions === 0)
  );
}

function isOlderBind({ source }: Mount, apiVersion: string): boolean {
  if (source.case !== "bind") return false;
  const { createHostPath, selinuxRelabel } = source.value;
  return Boolean(selinuxRelabel || (createHostPath && !isAtLeast(apiVersion, "1.42")));
}

function mountToDocker({ target, readOnly, source }: Mount, apiVersion: string): MountJson {
  const common = { Target: target, ...(readOnly !== undefined && { ReadOnly: readOnly }) };
  switch (source.case) {
    case "bind": {
      const { origin, propagation, nonRecursive, createHostPath } = source.value;
      if (origin.case !== "hostPath")
        throw new RangeError("a rooted path passed the support check");
      const word = propagations.find(([value]) => value === propagation)?.[1];
      const BindOptions = {
        ...(word !== undefined && { Propagation: word }),
        ...(nonRecursive !== undefined && { NonRecursive: nonRecursive }),
        ...(createHostPath && { CreateMountpoint: true }),
        ...recursion(source.value.recursiveReadOnly, apiVersion),
      };
      return { Type: "bind", Source: origin.value, ...common, BindOptions };
    }
    case "volume": {
      const { volume, copyImageContent, subpath, createSpec } = source.value;
      const VolumeOptions = {
        ...(copyImageContent !== undefined && { NoCopy: !copyImageContent }),
        ...(subpath !== undefined && { Subpath: subpath }),
        ...(createSpec && {
          Labels: createSpec.labels,
          DriverConfig: {
            ...(createSpec.driver !== undefined && { Name: createSpec.driver }),
            Options: createSpec.driverOptions,
          },
        }),
      };
      return { Type: "volume", ...(volume && { Source: volume }), ...common, VolumeOptions };
    }
    case "tmpfs":
      return { Type: "tmpfs", ...common, TmpfsOptions: tmpfsJson(source.value) };
    case "image": {
      const { image, subpath } = source.value;
      const ImageOptions = subpath === undefined ? {} : { Subpath: subpath };
      return { Type: "image", Source: image, ...common, ImageOptions };
    }
    default:
      throw new RangeError("a mount without a source passed the check of the contract");
  }
}

/** Until API 1.44 a read-only mount never holds for the mounts below it, as DISABLED says. */
function recursion(wanted: RecursiveReadOnly, apiVersion: string): MountJson["BindOptions"] {
  if (!isAtLeast(apiVersion, "1.44")) return {};
  if (wanted === RecursiveReadOnly.DISABLED) return { ReadOnlyNonRecursive: true };
  return wanted === RecursiveReadOnly.REQUIRED ? { ReadOnlyForceRecursive: true } : {};
}

/** A bind in the older form, which has colons between its parts and no way to write one inside. */
function bindToDocker(at: string, { target, readOnly, source }: Mount): string {
  if (source.case !== "bind") throw new RangeError("it is no bind");
  const { origin, propagation, nonRecursive, recursiveReadOnly, selinuxRelabel } = source.value;
  const path = origin.case === "hostPath" ? origin.value : "";
  const lost = /:/.test(path + target)
    ? "host_path"
    : nonRecursive
      ? "non_recursive"
      : recursiveReadOnly === RecursiveReadOnly.REQUIRED
        ? "recursive_read_only"
        : undefined;
  if (lost !== undefined) {
    const description =
      "Docker neither makes nor relabels a source with a colon in its path, nor with this option";
    throw fieldError([{ field: `${at}.${lost}`, description, reason: "FIELD_UNSUPPORTED" }]);
  }
  const word = propagations.find(([value]) => value === propagation)?.[1];
  const relabel = relabels.find(([value]) => value === selinuxRelabel)?.[1];
  const words = [readOnly ? "ro" : "rw", word, relabel].filter((part) => part !== undefined);
  return `${path}:${target}:${words.join(",")}`;
}

function tmpfsJson({ sizeBytes, permissions }: TmpfsMount): MountJson["TmpfsOptions"] & object {
  return {
    ...(sizeBytes !== undefined && { SizeBytes: Number(sizeBytes) }),
    ...(permissions !== undefined && { Mode: permissions }),
  };
}

function tmpfsOptions({ readOnly, source }: Mount): string {
  if (source.case !== "tmpfs") return "";
  const { sizeBytes, permissions, options } = source.value;
  if (options.some((option) => /^((size|mode)=|r[ow]$)/.test(option))) {
    const description = "size, permissions and read_only of a tmpfs have fields of their own";
    throw fieldError([{ field: "spec.mounts", description, reason: "FIELD_INVALID" }]);
  }
  return [
    ...options,
    ...(readOnly ? ["ro"] : []),
    ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`]),
    ...(permissions === undefined ? [] : [`mode=${permissions.toString(8)}`]),
  ].join(",");
}

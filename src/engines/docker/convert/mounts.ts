/** Converts mounts between messages and dockerd's HostConfig. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { Mount, TmpfsMount, VolumesFrom } from "../../../../gen/nap/v1/container_spec_pb.js";
import {
  MountPropagation,
  MountSchema,
  VolumesFromSchema,
} from "../../../../gen/nap/v1/container_spec_pb.js";
import type { ContainerMount } from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerMountKind,
  ContainerMountSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import { fieldError } from "../../../engine/error.js";
import { refuseTargetTwice } from "../../../engine/mount_targets.js";
import type { HostConfigJson, MountJson, MountPointJson } from "../json.js";

const propagations: readonly [MountPropagation, string][] = [
  [MountPropagation.PRIVATE, "private"],
  [MountPropagation.RPRIVATE, "rprivate"],
  [MountPropagation.SHARED, "shared"],
  [MountPropagation.RSHARED, "rshared"],
  [MountPropagation.SLAVE, "slave"],
  [MountPropagation.RSLAVE, "rslave"],
];

type MountHostConfig = Pick<HostConfigJson, "Binds" | "Mounts" | "Tmpfs" | "VolumesFrom">;

/** Mounts as dockerd takes them. Fails where two have one target: dockerd does not see all such. */
export function mountsToDocker(
  mounts: readonly Mount[],
  volumesFrom: readonly VolumesFrom[],
): MountHostConfig {
  refuseTargetTwice(mounts);
  // Only the older forms take options of a tmpfs, and make a source that is missing.
  const tmpfs = mounts.filter(({ source }) => hasOptions(source));
  const binds = mounts.filter(
    ({ source }) => source.case === "bind" && source.value.createHostPath,
  );
  const older = new Set([...tmpfs, ...binds]);
  return {
    Mounts: mounts.filter((mount) => !older.has(mount)).map(mountToDocker),
    Binds: binds.map(bindToDocker),
    Tmpfs: Object.fromEntries(tmpfs.map((mount) => [mount.target, tmpfsOptions(mount)])),
    VolumesFrom: volumesFrom.map(({ container, readOnly }) =>
      readOnly === undefined ? container : `${container}:${readOnly ? "ro" : "rw"}`,
    ),
  };
}

function hasOptions(source: Mount["source"]): boolean {
  // The newer form takes permissions of 0 for unset.
  return (
    source.case === "tmpfs" && (source.value.options.length > 0 || source.value.permissions === 0)
  );
}

function mountToDocker({ target, readOnly, source }: Mount): MountJson {
  const common = { Target: target, ...(readOnly !== undefined && { ReadOnly: readOnly }) };
  switch (source.case) {
    case "bind": {
      const { origin, propagation, nonRecursive } = source.value;
      if (origin.case !== "hostPath")
        throw new RangeError("a rooted path passed the support check");
      const word = propagations.find(([value]) => value === propagation)?.[1];
      const BindOptions = {
        ...(word !== undefined && { Propagation: word }),
        ...(nonRecursive !== undefined && { NonRecursive: nonRecursive }),
      };
      return { Type: "bind", Source: origin.value, ...common, BindOptions };
    }
    case "volume": {
      const { volume, noCopy, createSpec } = source.value;
      const VolumeOptions = {
        ...(noCopy !== undefined && { NoCopy: noCopy }),
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
    default:
      throw new RangeError(`a mount of kind ${source.case} passed the support check`);
  }
}

/** A bind in the older form, which has colons between its parts and no way to write one inside. */
function bindToDocker({ target, readOnly, source }: Mount): string {
  if (source.case !== "bind") throw new RangeError("it is no bind");
  const { origin, propagation, nonRecursive } = source.value;
  const path = origin.case === "hostPath" ? origin.value : "";
  if (/:/.test(path + target) || nonRecursive) {
    const description =
      "Docker makes no source for a path with a colon, nor for a non-recursive mount";
    const field = "spec.mounts";
    throw fieldError([{ field, description, kind: "FIELD_UNSUPPORTED_BY_ENGINE" }]);
  }
  const word = propagations.find(([value]) => value === propagation)?.[1];
  const options = [readOnly ? "ro" : "rw", ...(word === undefined ? [] : [word])];
  return `${path}:${target}:${options.join(",")}`;
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
  if (options.some((option) => /^(size|mode)=/.test(option))) {
    const description = "size and permissions of a tmpfs have fields of their own";
    throw fieldError([{ field: "spec.mounts", description, kind: "FIELD_INVALID" }]);
  }
  return [
    ...options,
    ...(readOnly ? ["ro"] : []),
    ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`]),
    ...(permissions === undefined ? [] : [`mode=${permissions.toString(8)}`]),
  ].join(",");
}

type MountInit = MessageInitShape<typeof MountSchema>;

/** Mounts as dockerd reports them, in whatever form their maker gave them. */
export function mountsFromDocker(
  host: HostConfigJson,
  volumes: Record<string, object> | null | undefined,
): Mount[] {
  const inits: MountInit[] = [
    ...(host.Mounts ?? []).map(mountFromDocker),
    ...(host.Binds ?? []).map(bindFromDocker),
    ...Object.entries(host.Tmpfs ?? {}).map(tmpfsFromDocker),
  ];
  const known = new Set(inits.map(({ target }) => target));
  for (const target of Object.keys(volumes ?? {})) {
    if (!known.has(target)) inits.push({ target, source: { case: "volume", value: {} } });
  }
  return inits.map((init) => create(MountSchema, init));
}

function mountFromDocker(mount: MountJson): MountInit {
  const { Type, Source, Target: target, ReadOnly: readOnly } = mount;
  const common = { target, ...(readOnly && { readOnly }) };
  switch (Type) {
    case "bind": {
      const { Propagation, NonRecursive: nonRecursive } = mount.BindOptions ?? {};
      const propagation = propagations.find(([, word]) => word === Propagation)?.[0];
      const origin = { case: "hostPath" as const, value: Source ?? "" };
      const value = {
        origin,
        ...(propagation && { propagation }),
        ...(nonRecursive && { nonRecursive }),
      };
      return { ...common, source: { case: "bind", value } };
    }
    case "volume": {
      const { NoCopy: noCopy, Labels, DriverConfig } = mount.VolumeOptions ?? {};
      const { Name: driver, Options } = DriverConfig ?? {};
      const createSpec = {
        ...(driver && { driver }),
        labels: Labels ?? {},
        driverOptions: Options ?? {},
      };
      const made = driver || Object.keys({ ...Labels, ...Options }).length > 0;
      const value = {
        ...(Source && { volume: Source }),
        ...(noCopy && { noCopy }),
        ...(made && { createSpec }),
      };
      return { ...common, source: { case: "volume", value } };
    }
    case "tmpfs": {
      const { SizeBytes, Mode: permissions } = mount.TmpfsOptions ?? {};
      const value = {
        ...(SizeBytes && { sizeBytes: BigInt(SizeBytes) }),
        ...(permissions && { permissions }),
      };
      return { ...common, source: { case: "tmpfs", value } };
    }
    default:
      return common;
  }
}

/** One entry of Binds: `source:target[:options]`, the source a host path or a volume's name. */
function bindFromDocker(bind: string): MountInit {
  const [source = "", target = "", options = ""] = bind.split(":");
  const words = options.split(",");
  const common = { target, ...(words.includes("ro") && { readOnly: true }) };
  if (!source.startsWith("/")) {
    const noCopy = words.includes("nocopy");
    const value = { volume: source, ...(noCopy && { noCopy }) };
    return { ...common, source: { case: "volume", value } };
  }
  const propagation = propagations.find(([, word]) => words.includes(word))?.[0];
  // A daemon makes the missing source of this form, and of this form alone.
  const origin = { case: "hostPath" as const, value: source };
  const value = { origin, createHostPath: true, ...(propagation && { propagation }) };
  return { ...common, source: { case: "bind", value } };
}

function tmpfsFromDocker([target, text]: [string, string]): MountInit {
  const words = text.split(",").filter((word) => word !== "");
  const size = words.find((word) => /^size=\d+$/.test(word));
  const mode = words.find((word) => word.startsWith("mode="));
  const value = {
    options: words.filter((word) => word !== size && word !== mode && word !== "ro"),
    ...(size && { sizeBytes: BigInt(size.slice("size=".length)) }),
    ...(mode && { permissions: parseInt(mode.slice("mode=".length), 8) }),
  };
  return {
    target,
    ...(words.includes("ro") && { readOnly: true }),
    source: { case: "tmpfs", value },
  };
}

/** Containers whose volumes are shared, as dockerd reports them. */
export function volumesFromDocker(entries: readonly string[] | null | undefined): VolumesFrom[] {
  return (entries ?? []).map((entry) => {
    const [container = "", mode] = entry.split(":");
    return create(VolumesFromSchema, { container, ...(mode && { readOnly: mode === "ro" }) });
  });
}

const kinds: Readonly<Record<string, ContainerMountKind>> = {
  bind: ContainerMountKind.BIND,
  volume: ContainerMountKind.VOLUME,
  tmpfs: ContainerMountKind.TMPFS,
  image: ContainerMountKind.IMAGE,
};

/** What is mounted now, as dockerd reports it. */
export function mountPoints(
  points: readonly MountPointJson[] | null | undefined,
): ContainerMount[] {
  return (points ?? []).map((point) =>
    create(ContainerMountSchema, {
      kind: kinds[point.Type] ?? ContainerMountKind.UNSPECIFIED,
      target: point.Destination,
      hostPath: point.Source,
      volume: point.Name ?? "",
      driver: point.Driver ?? "",
      readOnly: !point.RW,
      propagation:
        propagations.find(([, word]) => word === point.Propagation)?.[0] ??
        MountPropagation.UNSPECIFIED,
    }),
  );
}

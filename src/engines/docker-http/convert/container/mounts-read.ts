/** Converts mounts from dockerd's JSON, in whatever form their maker gave them. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { ContainerMount } from "../../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerMountKind,
  ContainerMountSchema,
} from "../../../../../gen/nap/v1/container_service_pb.js";
import type {
  BindMountSchema,
  Mount,
  TmpfsMountSchema,
  VolumeMountSchema,
  VolumesFrom,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import {
  MountPropagation,
  MountSchema,
  RecursiveReadOnly,
  VolumesFromSchema,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import type { HostConfigJson, MountJson, MountPointJson } from "../../json.js";
import { propagations, relabels } from "./mounts.js";

type MountInit = MessageInitShape<typeof MountSchema>;

/** Mounts as dockerd reports them, in whatever form their maker gave them. */
export function mountsFromDocker(
  host: HostConfigJson,
  volumes: Record<string, object> | null | undefined,
): Mount[] {
  const inits: MountInit[] = [
    ...(host.Mounts ?? []).map(mountFromDocker),
    ...(host.Binds ?? []).map((bind) => bindFromDocker(bind, host.VolumeDriver)),
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
    case "bind":
      return { ...common, source: { case: "bind", value: bindOptions(mount) } };
    case "volume":
      return { ...common, source: { case: "volume", value: volumeOptions(mount) } };
    case "tmpfs":
      return { ...common, source: { case: "tmpfs", value: tmpfsOptions(mount) } };
    case "image": {
      const subpath = mount.ImageOptions?.Subpath;
      const value = { image: Source ?? "", ...(subpath && { subpath }) };
      return { ...common, source: { case: "image", value } };
    }
    default:
      return common;
  }
}

function bindOptions(mount: MountJson): MessageInitShape<typeof BindMountSchema> {
  const options = mount.BindOptions ?? {};
  const propagation = propagations.find(([, word]) => word === options.Propagation)?.[0];
  return {
    origin: { case: "hostPath", value: mount.Source ?? "" },
    ...(options.CreateMountpoint && { createHostPath: true }),
    ...(propagation && { propagation }),
    ...(options.NonRecursive && { nonRecursive: true }),
    ...(options.ReadOnlyNonRecursive && { recursiveReadOnly: RecursiveReadOnly.DISABLED }),
    ...(options.ReadOnlyForceRecursive && { recursiveReadOnly: RecursiveReadOnly.REQUIRED }),
  };
}

function volumeOptions(mount: MountJson): MessageInitShape<typeof VolumeMountSchema> {
  const { NoCopy, Subpath, Labels, DriverConfig } = mount.VolumeOptions ?? {};
  const { Name: driver, Options } = DriverConfig ?? {};
  const made = driver || Object.keys({ ...Labels, ...Options }).length > 0;
  return {
    ...(mount.Source && { volume: mount.Source }),
    ...(NoCopy && { copyImageContent: false }),
    ...(Subpath && { subpath: Subpath }),
    ...(made && {
      createSpec: {
        ...(driver && { driver }),
        labels: Labels ?? {},
        driverOptions: Options ?? {},
      },
    }),
  };
}

function tmpfsOptions(mount: MountJson): MessageInitShape<typeof TmpfsMountSchema> {
  const { SizeBytes, Mode: permissions, Options } = mount.TmpfsOptions ?? {};
  return {
    ...(SizeBytes && { sizeBytes: BigInt(SizeBytes) }),
    ...(permissions && { permissions }),
    options: (Options ?? []).map((words) => words.join("=")),
  };
}

/**
 * One entry of Binds: `source:target[:options]`, the source a host path or a volume's name; or a
 * target alone, for an anonymous volume.
 */
function bindFromDocker(bind: string, volumeDriver: string | undefined): MountInit {
  const [source = "", target, options = ""] = bind.split(":");
  if (target === undefined) return { target: source, source: { case: "volume", value: {} } };
  const words = options.split(",");
  const common = { target, ...(words.includes("ro") && { readOnly: true }) };
  if (!source.startsWith("/")) {
    const value = {
      volume: source,
      ...(words.includes("nocopy") && { copyImageContent: false }),
      ...(volumeDriver && { createSpec: { driver: volumeDriver } }),
    };
    return { ...common, source: { case: "volume", value } };
  }
  const propagation = propagations.find(([, word]) => words.includes(word))?.[0];
  const selinuxRelabel = relabels.find(([, word]) => words.includes(word))?.[0];
  const value = {
    origin: { case: "hostPath" as const, value: source },
    // A daemon makes the missing source of this form.
    createHostPath: true,
    ...(propagation && { propagation }),
    ...(selinuxRelabel && { selinuxRelabel }),
  };
  return { ...common, source: { case: "bind", value } };
}

function tmpfsFromDocker([target, text]: [string, string]): MountInit {
  const words = text.split(",").filter((word) => word !== "");
  const size = words.find((word) => /^size=\d+[kmg]?$/i.test(word));
  const mode = words.find((word) => /^mode=[0-7]+$/.test(word));
  const value = {
    options: words.filter((word) => word !== size && word !== mode && !/^r[ow]$/.test(word)),
    ...(size && { sizeBytes: bytesOf(size.slice("size=".length)) }),
    ...(mode && { permissions: parseInt(mode.slice("mode=".length), 8) }),
  };
  return {
    target,
    ...(words.includes("ro") && { readOnly: true }),
    source: { case: "tmpfs", value },
  };
}

/** A number of bytes as the kernel takes it for a tmpfs, for example "64m". */
function bytesOf(text: string): bigint {
  const unit = "kmg".indexOf(text.at(-1)?.toLowerCase() ?? "") + 1;
  return BigInt(unit > 0 ? text.slice(0, -1) : text) << BigInt(10 * unit);
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

/** Returns the current mounts as dockerd reports them. */
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

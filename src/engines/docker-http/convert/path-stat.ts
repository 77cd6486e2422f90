/** Converts dockerd's description of a file in a container. */
import { create } from "@bufbuild/protobuf";
import type { PathStat } from "../../../../gen/nap/v1/types_pb.js";
import { FileKind, PathStatSchema } from "../../../../gen/nap/v1/types_pb.js";
import { timestampOf } from "../../../lib/time.js";

/** A file as dockerd describes it in a header. */
export interface PathStatJson {
  readonly name: string;
  readonly size: number;
  /** Go's os.FileMode, which is not the kernel's. */
  readonly mode: number;
  readonly mtime: string;
  readonly linkTarget: string;
}

/** The bits of Go's os.FileMode that tell a file's kind. No bit: a regular file. */
const kinds: readonly [bit: number, kind: FileKind][] = [
  [2 ** 31, FileKind.DIRECTORY],
  [2 ** 27, FileKind.SYMLINK],
  [2 ** 26, FileKind.DEVICE],
  [2 ** 25, FileKind.PIPE],
  [2 ** 24, FileKind.SOCKET],
  // Irregular: neither of these.
  [2 ** 19, FileKind.UNSPECIFIED],
];

/** The bits above the nine of rwx: in Go's os.FileMode, and as chmod counts. */
const special: readonly [bit: number, permission: number][] = [
  [2 ** 23, 0o4000],
  [2 ** 22, 0o2000],
  [2 ** 20, 0o1000],
];

/** Parses the header X-Docker-Container-Path-Stat: JSON in base64. */
export function pathStatFromHeader(header: string): PathStat {
  return pathStat(JSON.parse(Buffer.from(header, "base64").toString()) as PathStatJson);
}

/** A file as the contract describes it. */
export function pathStat({ name, size, mode, mtime, linkTarget }: PathStatJson): PathStat {
  const { kind, permissions } = fromGoMode(mode);
  return create(PathStatSchema, {
    name,
    kind,
    permissions,
    sizeBytes: BigInt(kind === FileKind.REGULAR ? size : 0),
    modifyTime: timestampOf(mtime),
    linkTarget: kind === FileKind.SYMLINK ? linkTarget : "",
  });
}

/** A file's kind and its permissions as chmod counts them, from Go's os.FileMode. */
export function fromGoMode(mode: number): { kind: FileKind; permissions: number } {
  const has = (bit: number): boolean => Math.floor(mode / bit) % 2 === 1;
  const kind = kinds.find(([bit]) => has(bit))?.[1] ?? FileKind.REGULAR;
  const extra = special.filter(([bit]) => has(bit)).map(([, permission]) => permission);
  return { kind, permissions: extra.reduce((sum, bit) => sum + bit, mode % 0o1000) };
}

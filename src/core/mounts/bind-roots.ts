/**
 * The bind roots: directories of the host that the configuration names, and the resolution of a path below
 * one to a path of the host.
 *
 * An engine resolves a bind's source at each start. Anything that a container can write may be a symbolic
 * link by then, so only paths that containers cannot replace are mounted: the root's own directory, whose
 * parent belongs to the operator, or any path below a root whose content the operator trusts.
 */
import { lstat, mkdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import type { BindRootPath } from "../../../gen/nap/v1/container_spec_pb.js";
import { identityNamePattern } from "../../auth/identity.js";

/** A directory of the host that requests may name. */
export interface BindRoot {
  /** An absolute path. The component `{identity}` is replaced by the caller's identity. */
  readonly path: string;
  /** True if the operator guarantees that no container can create a symbolic link below it. */
  readonly trustedContent: boolean;
}

/** The bind roots by name. */
export type BindRoots = ReadonlyMap<string, BindRoot>;

/** The path component that is replaced by the caller's identity. */
export const identityPart = "{identity}";

/** The name of a path below a bind root, from a request or from a container's label. */
export type RootedName = Pick<BindRootPath, "root" | "path">;

/** The reason why a path is not mounted: a field is invalid, or the source does not exist. */
export interface BindFault {
  readonly at: "root" | "path" | "source";
  readonly description: string;
}

/** Returns what is wrong with the text of a path; undefined if nothing is. Does not access files. */
export function rootedFault(roots: BindRoots, { root, path }: RootedName): BindFault | undefined {
  const known = roots.get(root);
  if (known === undefined) {
    const names = [...roots.keys()].join(", ") || "none";
    return { at: "root", description: `there is no bind root "${root}" (there are: ${names})` };
  }
  const at = "path";
  if (path.includes("\0")) return { at, description: "has a NUL" };
  if (path.startsWith("/")) return { at, description: "is absolute, and must be relative" };
  const parts = partsOf(path);
  if (parts.includes("..")) return { at, description: 'has the part "..", which leaves the root' };
  if (parts.some((part) => part === "" || part === ".")) {
    return { at, description: 'has a part that is empty or "."' };
  }
  if (parts.length > 0 && !known.trustedContent) {
    const description =
      `goes below "${root}", where containers may put symbolic links; mount the root itself ` +
      "(an empty path), or have the operator set trusted_content";
    return { at, description };
  }
  return undefined;
}

/**
 * Returns the path of the host for `identity`. With `make` missing directories below the operator's own
 * are created with mode 0755, never through a symbolic link.
 */
export async function hostPathOf(
  roots: BindRoots,
  name: RootedName,
  identity: string,
  make: boolean,
): Promise<string | BindFault> {
  const fault = rootedFault(roots, name);
  const root = roots.get(name.root);
  if (fault !== undefined) return fault;
  if (root === undefined) throw new RangeError(`the bind root ${name.root} was not checked`);
  if (!identityNamePattern.test(identity)) {
    throw new RangeError(`"${identity}" is no identity`);
  }
  const [base, own] = splitRoot(root.path);
  const parts: Part[] = [
    ...own.map((part) => ({ name: part === identityPart ? identity : part, at: "root" as const })),
    ...partsOf(name.path).map((part) => ({ name: part, at: "path" as const })),
  ];
  try {
    return await descend(base, parts, make);
  } catch (error) {
    const { code, path = base, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    const description = code === "ENOENT" ? `${path} is not on the host` : message;
    return { at: "source", description };
  }
}

/** One component of a path below the operator's own, and the field that it comes from. */
interface Part {
  readonly name: string;
  readonly at: "root" | "path";
}

async function descend(
  base: string,
  parts: readonly Part[],
  make: boolean,
): Promise<string | BindFault> {
  // The path up to the identity's directory is the operator's: symlinks are allowed, and it must exist.
  let path = await realpath(base);
  if (!(await lstat(path)).isDirectory()) return { at: "root", description: noDirectory(path) };
  for (const [index, { name, at }] of parts.entries()) {
    path = join(path, name);
    if (make) await makeDirectory(path);
    const found = await lstat(path);
    if (found.isSymbolicLink()) {
      const description = `${path} is a symbolic link, and none is followed below a bind root`;
      return { at, description };
    }
    // The root and every component before another one must be directories.
    const mustBeDirectory = at === "root" || index < parts.length - 1;
    if (mustBeDirectory && !found.isDirectory()) return { at, description: noDirectory(path) };
  }
  return path;
}

function noDirectory(path: string): string {
  return `${path} is no directory`;
}

/** Creates a directory if nothing exists at the path; a dangling symbolic link counts as existing. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, 0o755);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/**
 * Splits a root's path into the operator's own part, as a path, and the components from the identity on.
 */
function splitRoot(path: string): [base: string, own: string[]] {
  const parts = path.split("/").filter((part) => part !== "");
  const first = parts.indexOf(identityPart);
  const split = first < 0 ? parts.length : first;
  return [`/${parts.slice(0, split).join("/")}`, parts.slice(split)];
}

function partsOf(path: string): string[] {
  return path === "" ? [] : path.split("/");
}

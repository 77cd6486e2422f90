/**
 * Mounts of a container that name a bind root. They are passed to the engine as paths of the host, stored
 * in an internal label, reported as they were requested, and verified before each start.
 */
import { clone } from "@bufbuild/protobuf";
import { z } from "zod";
import type { ContainerSpec, Mount } from "../../../gen/nap/v1/container_spec_pb.js";
import { ContainerSpecSchema } from "../../../gen/nap/v1/container_spec_pb.js";
import type { BindFault, BindRoots, RootedName } from "./bind-roots.js";
import { hostPathOf, rootedFault } from "./bind-roots.js";
import type { FieldViolation } from "../../contract/errors.js";
import { fieldError, NapError } from "../../contract/errors.js";
import { internalLabelPrefix } from "../../contract/reserved-labels.js";
import { identityNamePattern } from "../../auth/identity.js";

/**
 * The label. nap sets it on every container, empty if there are no such mounts, since a container inherits
 * the labels of its image, which anyone can set.
 */
const bindRootsLabel = `${internalLabelPrefix}bind-roots`;

const labelSchema = z.strictObject({
  /**
   * The identity that created the container; its directories are mounted, also if another identity starts
   * it.
   */
  identity: z.string().regex(identityNamePattern),
  mounts: z.array(
    z.strictObject({
      target: z.string(),
      root: z.string(),
      path: z.string(),
      hostPath: z.string(),
      createHostPath: z.boolean().optional(),
    }),
  ),
});
type Remembered = z.infer<typeof labelSchema>;
type RootedEntry = Remembered["mounts"][number];

/** A spec in which all binds are paths of the host, and the labels that store which of them were not. */
export interface PlacedSpec {
  readonly spec: ContainerSpec;
  readonly ownLabels: Readonly<Record<string, string>>;
}

/**
 * Resolves the mounts of a spec that name a bind root, for the identity that creates the container. Fails
 * with BIND_SOURCE_NOT_FOUND, and with FIELD_INVALID, which lists all mounts whose text is invalid.
 */
export async function resolveBindRoots(
  roots: BindRoots,
  given: ContainerSpec,
  identity: string,
): Promise<PlacedSpec> {
  const spec = clone(ContainerSpecSchema, given);
  const rooted = [...spec.mounts.entries()].flatMap(([index, mount]) => {
    const { source } = mount;
    if (source.case !== "bind" || source.value.origin.case !== "bindRoot") return [];
    const field = `spec.mounts[${index}].bind.bind_root`;
    return [{ field, mount, bind: source.value, name: source.value.origin.value }];
  });
  refuse(
    rooted.flatMap(({ field, name }) => {
      const fault = rootedFault(roots, name);
      return fault === undefined ? [] : [violation(field, fault)];
    }),
  );
  const mounts: RootedEntry[] = [];
  for (const { field, mount, bind, name } of rooted) {
    const { createHostPath } = bind;
    const found = await hostPathOf(roots, name, identity, createHostPath === true);
    if (typeof found !== "string") {
      if (found.at === "source") throw sourceNotFound(name, found);
      refuse([violation(field, found)]);
      continue;
    }
    bind.origin = { case: "hostPath", value: found };
    // The source exists now, and an engine would create a missing one through symbolic links.
    bind.createHostPath = undefined;
    const { target } = mount;
    const { root, path } = name;
    mounts.push({
      target,
      root,
      path,
      hostPath: found,
      ...(createHostPath !== undefined && { createHostPath }),
    });
  }
  const remembered: Remembered = { identity, mounts };
  const text = mounts.length === 0 ? "" : JSON.stringify(remembered);
  return { spec, ownLabels: { [bindRootsLabel]: text } };
}

function refuse(violations: readonly FieldViolation[]): void {
  if (violations.length > 0) throw fieldError(violations);
}

function violation(field: string, { at, description }: BindFault): FieldViolation {
  return { field: `${field}.${at}`, description, reason: "FIELD_INVALID" };
}

function sourceNotFound({ root, path }: RootedName, { description }: BindFault): NapError {
  const resource = path === "" ? root : `${root}/${path}`;
  return new NapError("BIND_SOURCE_NOT_FOUND", `bind root ${resource}: ${description}`, {
    resource,
  });
}

type Labels = Readonly<Record<string, string>> | null | undefined;

/**
 * Restores the mounts of a container as they were requested; `mounts` are those that the engine reports.
 */
export function restoreBindRoots(mounts: readonly Mount[], labels: Labels): void {
  const remembered = rememberedIn(labels, mounts);
  for (const { target, source } of mounts) {
    const entry = remembered?.mounts.find((each) => each.target === target);
    if (entry === undefined || source.case !== "bind") continue;
    const { root, path, createHostPath } = entry;
    source.value.origin = {
      case: "bindRoot",
      value: { $typeName: "nap.v1.BindRootPath", root, path },
    };
    source.value.createHostPath = createHostPath;
  }
}

/**
 * Verifies, before a container starts, that the sources of its mounts below bind roots are still those of
 * its creation. `mounts` are those that the engine reports; `roots` is undefined if the engine is on
 * another host. Fails with BIND_SOURCE_NOT_FOUND, and with CONTAINER_START_FAILED if a source was
 * replaced, the root is no longer configured, or nap cannot access it.
 */
export async function verifyBindRoots(
  roots: BindRoots | undefined,
  container: string,
  mounts: readonly Mount[],
  labels: Labels,
): Promise<void> {
  const remembered = rememberedIn(labels, mounts);
  for (const entry of remembered?.mounts ?? []) {
    const { target, hostPath, createHostPath } = entry;
    const identity = remembered?.identity ?? "";
    if (roots === undefined) {
      const message = `${container}: the source ${hostPath} of the mount at ${target} is below a bind root of another host, where nap cannot look at it`;
      throw new NapError("CONTAINER_START_FAILED", message, { resource: container });
    }
    const found = await hostPathOf(roots, entry, identity, createHostPath === true);
    if (found === hostPath) continue;
    if (typeof found !== "string" && found.at === "source") throw sourceNotFound(entry, found);
    const why = typeof found === "string" ? `it would be ${found} now` : found.description;
    const message = `${container}: the source ${hostPath} of the mount at ${target} is not what it was: ${why}`;
    throw new NapError("CONTAINER_START_FAILED", message, { resource: container });
  }
}

/** Returns the entries of the label for mounts that exist; other entries were not written by nap. */
function rememberedIn(labels: Labels, mounts: readonly Mount[]): Remembered | undefined {
  const text = labels?.[bindRootsLabel] ?? "";
  if (text === "") return undefined;
  const parsed = labelSchema.safeParse(parseJson(text));
  if (!parsed.success) return undefined;
  const there = parsed.data.mounts.filter(({ target, hostPath }) =>
    mounts.some((mount) => mount.target === target && hostPathIn(mount) === hostPath),
  );
  return { ...parsed.data, mounts: there };
}

function hostPathIn({ source }: Mount): string | undefined {
  if (source.case !== "bind" || source.value.origin.case !== "hostPath") return undefined;
  return source.value.origin.value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The part of the configuration that names directories of the host for bind mounts. */
import { z } from "zod";
import type { BindRoot, BindRoots } from "../core/mounts/bind-roots.js";
import { identityPart } from "../core/mounts/bind-roots.js";
import { nameSchema } from "./names.js";

const bindRootSchema = z
  .strictObject({
    path: z
      .string()
      .regex(/^(\/[^/\0]+)+$/, "must be an absolute path below /, without empty parts")
      .refine((path) => !/(^|\/)\.\.?(\/|$)/.test(path), 'must not have the part "." or ".."')
      .refine(
        (path) => path.split("/").every((part) => part === identityPart || !/[{}]/.test(part)),
        `may have ${identityPart} only as a whole part, and no other braces`,
      ),
    trusted_content: z.boolean().default(false),
  })
  .transform(({ path, trusted_content: trustedContent }): BindRoot => ({
    path,
    trustedContent,
  }));

/** The schema of bind roots in the file, by name. */
export const bindRootsSchema = z.record(nameSchema, bindRootSchema);

/**
 * Checks the bind roots. A container that mounts one root could replace the directory of another root
 * below it by a symbolic link, so nested roots are rejected unless one of them has trusted content.
 */
export function checkedRoots(roots: Readonly<Record<string, BindRoot>>): BindRoots {
  const all = new Map(Object.entries(roots));
  for (const [name, root] of all) {
    if (root.trustedContent) continue;
    const outer = [...all].find(
      ([, { path, trustedContent }]) => !trustedContent && liesBelow(root.path, path),
    )?.[0];
    if (outer === undefined) continue;
    throw new Error(
      `bind_roots.${name}: lies below the bind root "${outer}", whose containers could replace it ` +
        "by a symbolic link; move one of them, or set trusted_content for one",
    );
  }
  return all;
}

/** Returns whether a root is below another one for some identity. */
function liesBelow(inner: string, outer: string): boolean {
  const below = inner.split("/");
  const above = outer.split("/");
  const same = (a: string | undefined, b: string | undefined): boolean =>
    a === b || a === identityPart || b === identityPart;
  return below.length > above.length && above.every((part, index) => same(part, below[index]));
}

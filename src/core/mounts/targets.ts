/** Checks that no two mounts have the same target. */
import { posix } from "node:path";
import type { Mount } from "../../../gen/nap/v1/container_spec_pb.js";
import { fieldError } from "../../contract/errors.js";

/** Fails with FIELD_INVALID if two mounts have the same target after normalization. */
export function rejectDuplicateTargets(mounts: readonly Mount[]): void {
  const seen = new Set<string>();
  for (const [index, { target }] of mounts.entries()) {
    const path = posix.normalize(`${target}/`);
    if (seen.has(path)) {
      const field = `spec.mounts[${index}].target`;
      const description = `another mount has the target ${target} already`;
      throw fieldError([{ field, description, reason: "FIELD_INVALID" }]);
    }
    seen.add(path);
  }
}

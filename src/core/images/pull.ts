/** Decides whether the image of a new container is pulled. */
import { PullPolicy } from "../../../gen/nap/v1/container_service_pb.js";
import type { Identity } from "../../auth/identity.js";
import { denied } from "../../auth/identity.js";

/**
 * Returns whether the image is pulled now. `isPresent` is called only if the policy depends on it. Fails
 * with PERMISSION_DENIED if a pull is needed and the identity may not change images.
 */
export async function pullBegins(
  policy: PullPolicy,
  image: string,
  identity: Identity,
  isPresent: () => Promise<boolean>,
): Promise<boolean> {
  if (policy === PullPolicy.NEVER) return false;
  if (policy !== PullPolicy.ALWAYS && (await isPresent())) return false;
  if (identity.imageChanges) return true;
  throw denied(identity, `a pull of ${image} changes images, which it may not`);
}

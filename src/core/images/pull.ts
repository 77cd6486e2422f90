/** Decides whether the image of a container that is to be created is pulled. */
import { PullPolicy } from "../../../gen/nap/v1/container_service_pb.js";
import type { Identity } from "../../auth/identity.js";
import { denied } from "../../auth/identity.js";

/**
 * Whether the image is pulled now. `isPresent` is asked only where the policy depends on it. Fails with
 * PERMISSION_DENIED where a pull would begin and the identity may not change images.
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

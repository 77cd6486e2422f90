/** When the image of a new container is pulled, and which identities may pull it. */
import { expect } from "chai";
import { PullPolicy } from "../../../gen/nap/v1/container_service_pb.js";
import { local } from "../../auth/identity.js";
import { pullBegins } from "./pull.js";

describe("pull policies", () => {
  it("an identity that may not change images is refused only where a pull would begin", async () => {
    const limited = { ...local, imageChanges: false };
    const begins = (policy: PullPolicy, present: boolean, identity = limited): Promise<unknown> =>
      pullBegins(policy, "an-image", identity, async () => present).catch(({ reason }) => reason);
    const denied = "PERMISSION_DENIED";
    for (const [policy, absent, present] of [
      [PullPolicy.UNSPECIFIED, true, false],
      [PullPolicy.IF_NOT_PRESENT, true, false],
      [PullPolicy.NEVER, false, false],
      [PullPolicy.ALWAYS, true, true],
    ] as const) {
      expect(await begins(policy, false, local)).to.equal(absent);
      expect(await begins(policy, true, local)).to.equal(present);
      expect(await begins(policy, false)).to.equal(absent ? denied : false);
      expect(await begins(policy, true)).to.equal(present ? denied : false);
    }
  });
});

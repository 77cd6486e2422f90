/** The reasons of the errors that a run of the tests has met, and those that it need not meet. */
import type { Reason } from "../../src/contract/errors.js";
import { reasonRules } from "../../src/contract/errors.js";

const met = new Set<string>();

/** Reasons that no client can be brought to meet, each with the cause and with what shows it instead. */
const notMet: Partial<Readonly<Record<Reason, string>>> = {
  CALL_CANCELLED:
    "gRPC's library ends a cancelled call by itself; the server's log shows the reason",
  INTERNAL: "it is a defect of the server; src/rpc/status.test.ts shows its status",
};

/** Records that an error with this reason was met. */
export function meetReason(reason: string): void {
  met.add(reason);
}

/** Returns the reasons of the contract that were not met and should have been. */
export function unmetReasons(): string[] {
  return Object.keys(reasonRules()).filter((reason) => !met.has(reason) && !(reason in notMet));
}

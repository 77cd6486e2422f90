/** Who calls, and what that identity may do. */
import { NapError } from "../contract/errors.js";
import { wildcardFits } from "../lib/wildcard.js";

/** What an identity may do, each including the one before: look, change, and tidy up for everybody. */
export type Role = "read" | "operate" | "admin";

/** An identity as the configuration has it. */
export interface Identity {
  /** Name matches {@link identityNamePattern}. */
  readonly name: string;
  readonly role: Role;
  /** Patterns of engines' names, in which `*` stands for any text. */
  readonly engines: readonly string[];
  /** Patterns of the names of bind roots that it may mount. */
  readonly bindRoots: readonly string[];
  /** Whether it may set options by which a container reaches its host. */
  readonly privilegedOptions: boolean;
  /** Whether it may change what images there are. */
  readonly imageChanges: boolean;
  /** Whether it sees and touches only what it made itself. */
  readonly ownResourcesOnly: boolean;
  /** As many calls it may have under way at once. */
  readonly maxCalls: number;
}

/** The credentials by which identities are known. */
export interface Credentials {
  /** Identities by the SHA-256 of their bearer tokens, in hexadecimal. */
  readonly tokens: ReadonlyMap<string, Identity>;
  /** Identities by a name in their client certificates. */
  readonly certificates: ReadonlyMap<string, Identity>;
}

/** The names of identities: they stand in paths and labels as they are. */
export const identityNamePattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;

/** The name of the identity of whoever reaches a listener that asks for no credentials. */
export const localName = "local";

/** The identity of whoever reaches the unix socket, unless the configuration has another of that name. */
export const local: Identity = {
  name: localName,
  role: "admin",
  engines: ["*"],
  bindRoots: ["*"],
  privilegedOptions: true,
  imageChanges: true,
  ownResourcesOnly: false,
  maxCalls: 10_000,
};

/** Whether a name matches one of some patterns, in which `*` stands for any text. */
export function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => wildcardFits(pattern, name));
}

/** The error for what an identity may not do. */
export function denied({ name }: Identity, why: string): NapError {
  return new NapError("PERMISSION_DENIED", `the identity "${name}" is not allowed this: ${why}`);
}

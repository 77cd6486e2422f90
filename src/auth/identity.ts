/** The identities of callers and their permissions. */
import { NapError } from "../contract/errors.js";
import { wildcardFits } from "../lib/wildcard.js";

/**
 * Each role includes the one before: read resources, change them, and prune the resources of all owners.
 */
export type Role = "read" | "operate" | "admin";

/** An identity from the configuration. */
export interface Identity {
  /** Name matches {@link identityNamePattern}. */
  readonly name: string;
  readonly role: Role;
  /** The engines that it may use: patterns of names, in which `*` matches any text. */
  readonly engines: readonly string[];
  /** Patterns of the names of bind roots that it may mount. */
  readonly bindRoots: readonly string[];
  /** Whether it may set privileged fields, see access-classes.ts. */
  readonly privilegedOptions: boolean;
  /** Whether it may call the methods that add or remove images. */
  readonly imageChanges: boolean;
  /** Whether it sees and changes only resources that it created itself. */
  readonly ownResourcesOnly: boolean;
  /** The maximum number of its concurrent calls. */
  readonly maxCalls: number;
}

/** The credentials of all identities. */
export interface Credentials {
  /** Identities by the SHA-256 of their bearer tokens, in hexadecimal. */
  readonly tokens: ReadonlyMap<string, Identity>;
  /** Identities by a name in their client certificates. */
  readonly certificates: ReadonlyMap<string, Identity>;
}

/** The syntax of identity names, which are used unescaped in paths and labels. */
export const identityNamePattern = /^[a-z0-9][a-z0-9_-]{0,62}$/;

/** The name of the default identity of callers without credentials. */
export const localName = "local";

/**
 * The default identity of callers on the unix socket, unless the configuration defines one of this name.
 */
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

/** Returns whether a name matches one of the patterns, in which `*` matches any text. */
export function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => wildcardFits(pattern, name));
}

/** Returns the error for an operation that an identity may not perform. */
export function denied({ name }: Identity, why: string): NapError {
  return new NapError("PERMISSION_DENIED", `the identity "${name}" is not allowed this: ${why}`);
}

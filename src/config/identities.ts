/** The part of the configuration that defines identities and credentials. */
import { z } from "zod";
import type { Credentials, Identity } from "../auth/identity.js";
import { local, localName } from "../auth/identity.js";
import { nameSchema } from "./names.js";

/** The identities and their credentials. */
export interface Access {
  readonly credentials: Credentials;
  /** All identities by name, including `local`. */
  readonly identities: ReadonlyMap<string, Identity>;
}

/** The schema of identities in the file. */
export const identitiesSchema = z.record(
  nameSchema,
  z.strictObject({
    role: z.enum(["read", "operate", "admin"]),
    engines: z.array(z.string()).default(["*"]),
    bind_roots: z.array(z.string()).optional(),
    privileged_options: z.boolean().optional(),
    image_changes: z.boolean().optional(),
    own_resources_only: z.boolean().default(false),
    max_calls: z.number().int().positive().default(1000),
    certificates: z.array(z.string().min(1)).default([]),
    token_hashes: z
      .array(z.string().regex(/^sha256:[0-9a-f]{64}$/, "must be sha256: and 64 digits"))
      .default([]),
  }),
);

type IdentityFile = z.infer<typeof identitiesSchema>[string];

/** Returns the identities and their credentials. Fails if two identities share a credential. */
export function accessOf(file: z.infer<typeof identitiesSchema>): Access {
  const identities = new Map<string, Identity>([[localName, local]]);
  const tokens = new Map<string, Identity>();
  const certificates = new Map<string, Identity>();
  for (const [name, entry] of Object.entries(file)) {
    const identity = identityOf(name, entry);
    identities.set(name, identity);
    for (const hash of entry.token_hashes) {
      claim(tokens, hash.slice("sha256:".length), identity, "token_hashes");
    }
    for (const certificate of entry.certificates) {
      claim(certificates, certificate, identity, "certificates");
    }
  }
  return { credentials: { tokens, certificates }, identities };
}

function claim(
  known: Map<string, Identity>,
  credential: string,
  identity: Identity,
  field: string,
): void {
  const other = known.get(credential);
  if (other !== undefined && other !== identity) {
    const where = `identities.${identity.name}.${field}`;
    throw new Error(`${where}: "${credential}" is the identity "${other.name}" already`);
  }
  known.set(credential, identity);
}

function identityOf(name: string, entry: IdentityFile): Identity {
  const admin = entry.role === "admin";
  return {
    name,
    role: entry.role,
    engines: entry.engines,
    bindRoots: entry.bind_roots ?? (admin ? ["*"] : []),
    privilegedOptions: entry.privileged_options ?? admin,
    imageChanges: entry.image_changes ?? admin,
    ownResourcesOnly: entry.own_resources_only,
    maxCalls: entry.max_calls,
  };
}

/** The part of the configuration that says who is let in: listeners and identities. */
import { isAbsolute, resolve } from "node:path";
import { z } from "zod";
import type { Credentials, Identity } from "../auth/identity.js";
import { local, localName } from "../auth/identity.js";

/** The files of a TLS listener. They are read again when they change. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** The authorities that sign client certificates. Undefined: none are asked for. */
  readonly clientCa: string | undefined;
  readonly clientCertificateRequired: boolean;
}

/** Where to listen, and for whom. */
export type ListenAddress = UnixListen | TcpListen;

interface Listen {
  /** As many connections are accepted at once. */
  readonly maxConnections: number;
  /** Who calls without credentials. Undefined: such calls are refused. */
  readonly fallback: Identity | undefined;
}

interface UnixListen extends Listen {
  readonly kind: "unix";
  readonly path: string;
  readonly mode: number;
  /** A name or a number. */
  readonly owner: string | undefined;
  readonly group: string | undefined;
}

interface TcpListen extends Listen {
  readonly kind: "tcp";
  readonly host: string;
  readonly port: number;
  readonly tls: TlsFiles | undefined;
}

/** Who is let in. */
export interface Access {
  readonly credentials: Credentials;
  /** All identities by name. `local` is always among them. */
  readonly identities: ReadonlyMap<string, Identity>;
}

const identityName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "must match [a-z0-9][a-z0-9_-]*");
const account = z.union([z.string().regex(/^[^:\0]+$/), z.number().int().nonnegative()]);
const maxConnections = z.number().int().positive().default(1024);

/** A listener as the file says it: an address alone, or with what belongs to it. */
export const listenSchema = z.union([
  z.string().transform((address) => ({ address })),
  z.strictObject({
    address: z.string(),
    owner: account.optional(),
    group: account.optional(),
    mode: z
      .string()
      .regex(/^0?[0-7]{3}$/, 'must be like "0660"')
      .optional(),
    identity: identityName.optional(),
    max_connections: maxConnections.optional(),
    tls: z
      .strictObject({
        cert: z.string(),
        key: z.string(),
        client_ca: z.string().optional(),
        client_certificate: z.enum(["required", "optional"]).default("required"),
      })
      .optional(),
  }),
]);

/** The identities as the file says them. */
export const identitiesSchema = z.record(
  identityName,
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

/** The identities and their credentials. Fails where two identities share one. */
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

/**
 * A listener. TCP needs client certificates or tokens, and encryption beyond this host; `insecure`
 * lets in whoever reaches it all the same. Paths are relative to `directory`. Fails with a message
 * for people.
 */
export function listenAddress(
  listen: z.infer<typeof listenSchema>,
  { credentials, identities }: Access,
  insecure: boolean,
  directory: string,
): ListenAddress {
  const { address, owner, group, mode, identity, max_connections, tls } = {
    owner: undefined,
    group: undefined,
    mode: undefined,
    identity: undefined,
    max_connections: undefined,
    tls: undefined,
    ...listen,
  };
  const fallback = identity === undefined ? undefined : identities.get(identity);
  if (identity !== undefined && fallback === undefined) {
    throw new Error(`listen: ${address}: there is no identity "${identity}"`);
  }
  const limit = maxConnections.parse(max_connections);
  const path = /^unix:\/\/(\/.+)$/.exec(address)?.[1];
  if (path !== undefined) {
    if (tls !== undefined) throw new Error(`listen: ${address}: a unix socket has no tls`);
    return {
      kind: "unix",
      path,
      mode: parseInt(mode ?? "0660", 8),
      owner: owner?.toString(),
      group: group?.toString(),
      maxConnections: limit,
      fallback: fallback ?? identities.get(localName),
    };
  }
  const parts = /^(\[[0-9a-fA-F:]+\]|[^:/[\]]+):(\d{1,5})$/.exec(address);
  if (parts === null) {
    throw new Error(`listen: "${address}" is neither unix:///path nor host:port`);
  }
  if (owner !== undefined || group !== undefined || mode !== undefined) {
    throw new Error(`listen: ${address}: owner, group and mode are a unix socket's`);
  }
  const host = (parts[1] ?? "").replace(/^\[(.*)\]$/, "$1");
  const known = tls?.client_ca !== undefined || credentials.tokens.size > 0;
  if (!insecure) {
    if (!known || fallback !== undefined) {
      throw new Error(
        `listen: ${address} would let in anybody who reaches it, and whoever reaches an engine is ` +
          "root on its host; give it tls.client_ca or identities token_hashes and no identity of " +
          "its own, listen on a unix socket, or say --insecure",
      );
    }
    if (tls === undefined && !["localhost", "127.0.0.1", "::1"].includes(host)) {
      throw new Error(`listen: ${address} would send tokens in the clear; give it tls`);
    }
  }
  const file = (name: string): string => (isAbsolute(name) ? name : resolve(directory, name));
  return {
    kind: "tcp",
    host,
    port: Number(parts[2]),
    tls: tls && {
      cert: file(tls.cert),
      key: file(tls.key),
      clientCa: tls.client_ca === undefined ? undefined : file(tls.client_ca),
      clientCertificateRequired: tls.client_certificate === "required",
    },
    maxConnections: limit,
    fallback: fallback ?? (insecure && !known ? identities.get(localName) : undefined),
  };
}

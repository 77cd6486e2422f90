/** The part of the configuration that defines listeners and the identities of their callers. */
import { isAbsolute, resolve } from "node:path";
import { z } from "zod";
import type { Identity } from "../auth/identity.js";
import { localName } from "../auth/identity.js";
import type { Access } from "./identities.js";
import { nameSchema, parseHostPort } from "./names.js";

/** The files of a TLS listener. They are read again when they change. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** The authorities that sign client certificates; undefined if none are requested. */
  readonly clientCa: string | undefined;
  readonly clientCertificateRequired: boolean;
}

/** An address to listen on, and the identity of callers without credentials. */
export type ListenAddress = UnixListen | TcpListen;

interface Listen {
  /** The maximum number of concurrent connections. */
  readonly maxConnections: number;
  /** The identity of callers without credentials; undefined if such calls are rejected. */
  readonly fallback: Identity | undefined;
}

interface UnixListen extends Listen {
  readonly kind: "unix";
  readonly path: string;
  readonly mode: number;
  /** A user name or id. */
  readonly owner: string | undefined;
  readonly group: string | undefined;
}

interface TcpListen extends Listen {
  readonly kind: "tcp";
  readonly host: string;
  readonly port: number;
  readonly tls: TlsFiles | undefined;
}

const account = z.union([z.string().regex(/^[^:\0]+$/), z.number().int().nonnegative()]);
const maxConnections = z.number().int().positive().default(1024);

const unixSchema = z.strictObject({
  address: z.string().startsWith("unix:///"),
  owner: account.optional(),
  group: account.optional(),
  mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, 'must be like "0660"')
    .default("0660"),
  identity: nameSchema.optional(),
  max_connections: maxConnections,
  tls: z.undefined("a unix socket has no tls").optional(),
});

const ofUnixSocket = z.undefined("only a unix socket has owner, group and mode").optional();

const tcpSchema = z.strictObject({
  address: z.string(),
  owner: ofUnixSocket,
  group: ofUnixSocket,
  mode: ofUnixSocket,
  identity: nameSchema.optional(),
  max_connections: maxConnections,
  tls: z
    .strictObject({
      cert: z.string(),
      key: z.string(),
      client_ca: z.string().optional(),
      client_certificate: z.enum(["required", "optional"]).default("required"),
    })
    .optional(),
});

/** The schema of a listener in the file: an address alone, or an object with options. */
export const listenSchema = z.union([
  z.string().transform((address) => ({ address })),
  z.looseObject({ address: z.string() }),
]);

/**
 * Checks and returns a listener. TCP requires client certificates or tokens, and TLS unless it is bound to
 * the loopback interface; `insecure` lifts these requirements. Paths are relative to `directory`. Throws
 * an error with a message for operators.
 */
export function listenAddress(
  listen: z.infer<typeof listenSchema>,
  access: Access,
  insecure: boolean,
  directory: string,
): ListenAddress {
  const { address } = listen;
  return address.startsWith("unix:")
    ? unixAddress(checked(unixSchema, address, listen), access)
    : tcpAddress(checked(tcpSchema, address, listen), access, insecure, directory);
}

function unixAddress(
  { address, owner, group, mode, identity, max_connections }: z.infer<typeof unixSchema>,
  access: Access,
): ListenAddress {
  return {
    kind: "unix",
    path: address.slice("unix://".length),
    mode: parseInt(mode, 8),
    owner: owner?.toString(),
    group: group?.toString(),
    maxConnections: max_connections,
    fallback: fixedIdentity(address, identity, access) ?? access.identities.get(localName),
  };
}

function tcpAddress(
  { address, identity, max_connections, tls }: z.infer<typeof tcpSchema>,
  access: Access,
  insecure: boolean,
  directory: string,
): ListenAddress {
  const target = parseHostPort(address);
  if (target === undefined) {
    throw new Error(`listen: "${address}" is neither unix:///path nor host:port`);
  }
  const fallback = fixedIdentity(address, identity, access);
  const asksForCredentials = tls?.client_ca !== undefined || access.credentials.tokens.size > 0;
  if (!insecure && (!asksForCredentials || fallback !== undefined)) {
    throw new Error(
      `listen: ${address} would accept callers without credentials, and access to an engine is ` +
        "root on its host; give it tls.client_ca or identities token_hashes and no identity of " +
        "its own, listen on a unix socket, or set --insecure",
    );
  }
  const isLoopback = ["localhost", "127.0.0.1", "::1"].includes(target.host);
  if (!insecure && tls === undefined && !isLoopback) {
    throw new Error(`listen: ${address} would send tokens in the clear; give it tls`);
  }
  const file = (name: string): string => (isAbsolute(name) ? name : resolve(directory, name));
  const anyone = insecure && !asksForCredentials ? access.identities.get(localName) : undefined;
  return {
    kind: "tcp",
    ...target,
    tls: tls && {
      cert: file(tls.cert),
      key: file(tls.key),
      clientCa: tls.client_ca === undefined ? undefined : file(tls.client_ca),
      clientCertificateRequired: tls.client_certificate === "required",
    },
    maxConnections: max_connections,
    fallback: fallback ?? anyone,
  };
}

/** Returns the identity that a listener fixes for calls without credentials. */
function fixedIdentity(
  address: string,
  name: string | undefined,
  { identities }: Access,
): Identity | undefined {
  const identity = name === undefined ? undefined : identities.get(name);
  if (name !== undefined && identity === undefined) {
    throw new Error(`listen: ${address}: there is no identity "${name}"`);
  }
  return identity;
}

function checked<T>(schema: z.ZodType<T>, address: string, listen: unknown): T {
  const parsed = schema.safeParse(listen);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join(".")}: ${message}`,
  );
  throw new Error(`listen: ${address}: ${issues.join("; ")}`);
}

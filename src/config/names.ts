/** The syntax of names and addresses that several parts of the configuration use. */
import { z } from "zod";
import { identityNamePattern } from "../auth/identity.js";

/** A name of an engine, an identity or a bind root. */
export const nameSchema = z
  .string()
  .regex(identityNamePattern, "must match [a-z0-9][a-z0-9_-]{0,62}");

/** Returns the host and port of `host:port`; an IPv6 address is in brackets. */
export function parseHostPort(address: string): { host: string; port: number } | undefined {
  const [, host, port] = /^(\[[0-9a-fA-F:]+\]|[^:/[\]]+):(\d{1,5})$/.exec(address) ?? [];
  if (host === undefined || Number(port) > 65_535) return undefined;
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
}

/**
 * A listener: a unix socket with its owner and mode, or a TCP port with TLS.
 *
 * nap accepts connections itself and passes them to grpc-js. This way it limits their number, sets a
 * socket's owner before any client can connect, and uses renewed certificates for new connections without
 * closing existing ones.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { chmod, chown, rm, stat } from "node:fs/promises";
import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import type { SecureContextOptions } from "node:tls";
import { createServer as createTlsServer } from "node:tls";
import type { ListenAddress, TlsFiles } from "../config/listeners.js";

/** The timeout of a TLS handshake. */
const handshakeMillis = 10_000;
/** How often certificate files are checked for changes. */
const certificatePollMillis = 1000;

/** An address that cannot be listened on. The message says why. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** A listener that accepts connections. */
export interface Listener {
  /** The address in gRPC's notation. A TCP port 0 is replaced by the one that was assigned. */
  readonly address: string;
  /** Stops accepting connections. Existing ones stay open. */
  close(): Promise<void>;
}

/**
 * Listens and passes every connection, after its TLS handshake if there is one, to `accept`. Errors of
 * renewed certificates are passed to `warn`; the previous ones stay in use.
 */
export async function openListener(
  listen: ListenAddress,
  accept: (connection: Socket) => void,
  warn: (message: string) => void,
): Promise<Listener> {
  const take = (connection: Socket): void => {
    // grpc-js listens for errors only once there is a session.
    connection.on("error", () => undefined);
    accept(connection);
  };
  const tls = listen.kind === "tcp" ? listen.tls : undefined;
  const server = tls === undefined ? createServer(take) : tlsServer(tls, take, warn);
  server.maxConnections = listen.maxConnections;
  try {
    if (listen.kind === "unix") await openSocket(server, listen);
    else await bound(server, { host: listen.host, port: listen.port });
  } catch (error) {
    await closed(server);
    throw error instanceof ListenError
      ? error
      : new ListenError((error as Error).message, { cause: error });
  }
  const address =
    listen.kind === "unix"
      ? `unix:${listen.path}`
      : `${listen.host.includes(":") ? `[${listen.host}]` : listen.host}:${(server.address() as AddressInfo).port}`;
  return { address, close: () => closed(server) };
}

async function bound(server: Server, options: object): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function closed(server: Server): Promise<void> {
  // This does not wait for connections, which end with their calls.
  if (server.listening) server.close();
  server.emit("close");
}

async function openSocket(
  server: Server,
  { path, mode, owner, group }: ListenAddress & { kind: "unix" },
): Promise<void> {
  await removeDeadSocket(path);
  // Until its owner and mode are set, no other user can connect.
  const umask = process.umask(0o177);
  try {
    await bound(server, { path });
  } finally {
    process.umask(umask);
  }
  if (owner !== undefined || group !== undefined) {
    await chown(path, idOf("passwd", owner), idOf("group", group));
  }
  await chmod(path, mode);
}

/** Returns the id of a user or group; -1, which changes nothing, if none is named. */
function idOf(database: "passwd" | "group", name: string | undefined): number {
  if (name === undefined) return -1;
  if (/^\d+$/.test(name)) return Number(name);
  try {
    const entry = execFileSync("getent", [database, "--", name], { encoding: "utf8" });
    return Number(entry.split(":")[2]);
  } catch (error) {
    const what = database === "passwd" ? "user" : "group";
    throw new ListenError(`there is no ${what} "${name}"`, { cause: error });
  }
}

/** Removes a socket on which no process listens; a server that was killed leaves one. */
async function removeDeadSocket(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw new ListenError(`${path} exists and is not a socket`);
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
    probe.once("connect", () => probe.destroy());
  });
  if (answered) throw new ListenError(`another server listens on ${path}`);
  await rm(path);
}

function tlsServer(
  tls: TlsFiles,
  take: (connection: Socket) => void,
  warn: (message: string) => void,
): Server {
  const server = createTlsServer(
    {
      ...certificates(tls),
      ALPNProtocols: ["h2"],
      handshakeTimeout: handshakeMillis,
      requestCert: tls.clientCa !== undefined,
      rejectUnauthorized: tls.clientCa !== undefined && tls.clientCertificateRequired,
    },
    take,
  );
  // The connection of a client whose handshake failed is already closed.
  server.on("tlsClientError", () => undefined);
  const files = [tls.cert, tls.key, tls.clientCa].filter((file) => file !== undefined);
  const renew = (): void => {
    try {
      server.setSecureContext(certificates(tls));
    } catch (error) {
      // Files are renewed one after the other; they match again after the last change.
      warn(`the certificates of ${tls.cert} stay as they were: ${(error as Error).message}`);
    }
  };
  for (const file of files) watchFile(file, { interval: certificatePollMillis }, renew);
  server.on("close", () => {
    for (const file of files) unwatchFile(file, renew);
  });
  return server;
}

function certificates({ cert, key, clientCa }: TlsFiles): SecureContextOptions {
  return {
    cert: readFileSync(cert),
    key: readFileSync(key),
    ...(clientCa !== undefined && { ca: readFileSync(clientCa) }),
  };
}

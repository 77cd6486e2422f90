/** A proxy between nap and dockerd that changes what dockerd is sent, as a daemon that drops it would. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer, request } from "node:http";
import { once } from "node:events";
import { rmSync } from "node:fs";

/** A body of dockerd's JSON. */
export type Json = Record<string, unknown>;

/** A running proxy. */
export interface DockerProxy {
  /** Where it listens. */
  readonly socket: string;
  /** Changes the bodies of requests whose path this matches; undefined: of none. */
  change: { readonly path: RegExp; readonly edit: (body: Json) => void } | undefined;
  /** The paths whose bodies it changed. */
  readonly changed: string[];
  stop(): Promise<void>;
}

/** Starts a proxy at `socket` to the dockerd at `target`. It passes no upgraded connections. */
export async function startProxy(socket: string, target: string): Promise<DockerProxy> {
  const server = createServer((incoming, outgoing) => {
    pass(proxy, target, incoming, outgoing).catch((error: unknown) =>
      outgoing.destroy(error as Error),
    );
  });
  const proxy: DockerProxy = {
    socket,
    change: undefined,
    changed: [],
    stop: () => stop(server, socket),
  };
  server.listen(socket);
  await once(server, "listening");
  return proxy;
}

async function pass(
  proxy: DockerProxy,
  target: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const path = incoming.url ?? "/";
  let body = Buffer.concat(chunks);
  if (proxy.change?.path.test(path)) {
    const json = JSON.parse(body.toString()) as Json;
    proxy.change.edit(json);
    body = Buffer.from(JSON.stringify(json));
    proxy.changed.push(path);
  }
  const {
    "content-length": _length,
    "transfer-encoding": _encoding,
    ...headers
  } = incoming.headers;
  const onward = request({
    socketPath: target,
    path,
    method: incoming.method,
    headers: body.length === 0 ? headers : { ...headers, "content-length": body.length },
  });
  outgoing.on("close", () => onward.destroy());
  onward.end(body);
  const [answer] = (await once(onward, "response")) as [IncomingMessage];
  outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
  answer.pipe(outgoing);
}

async function stop(server: Server, socket: string): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
  rmSync(socket, { force: true });
}

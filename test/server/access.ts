/** Who is let in, and to what: sockets, certificates, tokens, roles. */
import { createHash, randomBytes } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { credentials, status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.js";
import { PullPolicy } from "../../gen/nap/v1/container_service_pb.js";
import { Health } from "../../gen/health/v1/health_pb.js";
import { eventually } from "../conformance/bench.js";
import { makeCertificate, makeCertificates } from "../support/engines/certificates.js";
import { all, clientOf, failure, openChannel } from "../support/client.js";
import type { Clients, TestNap } from "../support/engines/nap.js";
import { clientsOf, startNap } from "../support/engines/nap.js";
import type { DockerBench } from "../docker/cases.js";
import { imageSource } from "../support/requests/source.js";

const hashOf = (token: string): string =>
  `sha256:${createHash("sha256").update(token).digest("hex")}`;

/** Declares the cases. `open` gives their bench when the tests run. */
export function accessCases(open: () => DockerBench): void {
  const token = randomBytes(32).toString("hex");
  const opened: { close(): void }[] = [];
  let directory: string;
  let nap: TestNap;

  before(async () => {
    const { dockerd } = open();
    directory = mkdtempSync(join(dockerd.directory, "access-"));
    makeCertificates(directory);
    makeCertificate(directory, "alice", "URI:spiffe://nap.test/alice");
    makeCertificate(directory, "stranger", "DNS:stranger.test");
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    nap = await startNap(directory, {
      engines: { docker, other: docker },
      listen: [
        { address: `unix://${directory}/a.sock`, mode: "0600", owner: "nobody", group: "nogroup" },
        {
          address: "127.0.0.1:0",
          tls: {
            cert: "server.pem",
            key: "server.key",
            client_ca: "ca.pem",
            client_certificate: "optional",
          },
        },
        { address: `unix://${directory}/b.sock`, identity: "watcher", max_connections: 2 },
      ],
      identities: {
        alice: {
          role: "operate",
          engines: ["dock*"],
          certificates: ["spiffe://nap.test/alice"],
        },
        watcher: { role: "read", engines: ["docker"], token_hashes: [hashOf(token)], max_calls: 3 },
      },
    });
  });

  after(async () => {
    for (const channel of opened) channel.close();
    expect(await nap?.stop()).to.equal(0);
  });

  const pem = (name: string): Buffer => readFileSync(join(directory, name));

  /** A channel to the TLS listener, with the certificate of this name. */
  function secure(name?: string): ReturnType<typeof openChannel> {
    const [key, cert] =
      name === undefined ? [null, null] : [pem(`${name}.key`), pem(`${name}.pem`)];
    const channel = openChannel(
      nap.addresses[1] ?? "",
      credentials.createSsl(pem("ca.pem"), key, cert),
    );
    opened.push(channel);
    return channel;
  }

  /** The services over a socket of the server. */
  function plain(index: number): Clients {
    const channel = openChannel(nap.addresses[index] ?? "");
    opened.push(channel);
    return clientsOf(channel);
  }

  it("gives a unix socket the owner, group and mode that it is told", () => {
    const { mode, uid, gid } = statSync(join(directory, "a.sock"));
    expect({ mode: mode & 0o777, uid, gid }).to.deep.equal({
      mode: 0o600,
      uid: 65_534,
      gid: 65_534,
    });
    expect(statSync(join(directory, "b.sock")).mode & 0o777).to.equal(0o660);
  });

  it("lets in nobody without credentials, also not to health and reflection", async () => {
    const channel = secure();
    const refused = async (call: Promise<unknown>): Promise<void> => {
      const error = await failure(call);
      expect(error).to.include({ code: Code.UNAUTHENTICATED, reason: "UNAUTHENTICATED" });
    };
    await refused(clientsOf(channel).engines.listEngines({}));
    await refused(clientOf(channel, Health).check({}));
    const request = { host: "", messageRequest: { case: "listServices" as const, value: "*" } };
    await refused(all(clientOf(channel, ServerReflection).serverReflectionInfo([request])));
    await refused(clientsOf(secure("stranger")).engines.listEngines({}));
    const headers = { authorization: `Bearer ${token}x` };
    await refused(clientsOf(channel).engines.listEngines({}, { headers }));
    // A bad token does not fall back to what its sender could be otherwise.
    await refused(clientsOf(secure("alice")).engines.listEngines({}, { headers }));
    await refused(plain(0).engines.listEngines({}, { headers }));
  });

  it("lets in a certificate of another authority neither as its identity nor as anybody", async () => {
    const other = mkdtempSync(join(directory, "other-"));
    makeCertificates(other);
    makeCertificate(other, "alice", "URI:spiffe://nap.test/alice");
    const file = (name: string): Buffer => readFileSync(join(other, name));
    const forged = credentials.createSsl(pem("ca.pem"), file("alice.key"), file("alice.pem"));
    const channel = openChannel(nap.addresses[1] ?? "", forged);
    opened.push(channel);
    const error = await failure(clientsOf(channel).engines.listEngines({}));
    expect(error.code).to.equal(Code.UNAUTHENTICATED);
  });

  it("knows a client by the name in its certificate, and by its token", async () => {
    const alice = clientsOf(secure("alice"));
    const { engines } = await alice.engines.listEngines({});
    expect(engines.map(({ name }) => name)).to.deep.equal(["docker"]);
    const refused = await failure(alice.containers.pruneContainers({ engine: "docker" }));
    expect(refused.message).to.include('"alice"');
    const headers = { authorization: `Bearer ${token}` };
    const byToken = clientsOf(secure());
    await byToken.containers.listContainers({ engine: "docker" }, { headers });
    const stop = { engine: "docker", container: "none" };
    const error = await failure(byToken.containers.stopContainer(stop, { headers }));
    expect(error.message).to.include('"watcher"');
  });

  it("refuses what a role may not before it looks whether anything exists", async () => {
    const alice = clientsOf(secure("alice"));
    const watcher = plain(2);
    const container = "no-such-container";
    for (const call of [
      () => alice.containers.listContainers({ engine: "other" }),
      () => alice.containers.listContainers({ engine: "no-such-engine" }),
      () => alice.engines.getEngine({ engine: "other" }),
      () => alice.engines.getEngineCapabilities({ engine: "other" }),
      () => alice.volumes.pruneVolumes({ engine: "docker" }),
      () => alice.images.tagImage({ engine: "docker", image: "none", reference: "a:b" }),
      () => alice.containers.commitContainer({ engine: "docker", container }),
      () => all(alice.images.pullImage({ engine: "docker", image: "none" })),
      () =>
        alice.containers.createContainer({
          engine: "docker",
          spec: { source: imageSource("none") },
          pullPolicy: PullPolicy.ALWAYS,
        }),
      () => watcher.containers.removeContainer({ engine: "docker", container }),
      () =>
        watcher.containers.execContainerSync({
          engine: "docker",
          container,
          exec: { command: ["id"] },
        }),
      () => watcher.volumes.createVolume({ engine: "docker", name: "v" }),
    ]) {
      const error = await failure(call());
      expect(error).to.include({ code: Code.PERMISSION_DENIED, reason: "PERMISSION_DENIED" });
    }
    const spec = { source: imageSource("no-such-image") };
    for (const pullPolicy of [PullPolicy.UNSPECIFIED, PullPolicy.IF_NOT_PRESENT]) {
      const request = { engine: "docker", spec, pullPolicy };
      const refused = await failure(alice.containers.createContainer(request));
      expect(refused.reason).to.equal("PERMISSION_DENIED");
    }
    const missing = await failure(alice.containers.getContainer({ engine: "docker", container }));
    expect(missing.code).to.equal(Code.NOT_FOUND);
  });

  it("refuses options that reach the host, with their paths, to whom they are not allowed", async () => {
    const { bench } = open();
    const alice = clientsOf(secure("alice"));
    const spec = {
      source: imageSource(bench.image),
      security: { privileged: true },
      mounts: [{ target: "/x", source: { case: "bind" as const, value: bindOf("/etc") } }],
    };
    const error = await failure(alice.containers.createContainer({ engine: "docker", spec }));
    expect(error.code).to.equal(Code.PERMISSION_DENIED);
    expect(error.message).to.include("spec.security.privileged");
    expect(error.message).to.include("spec.mounts[0].bind");
    const exec = { command: ["id"], privileged: true };
    const request = { engine: "docker", container: "none", exec };
    const execError = await failure(alice.containers.execContainerSync(request));
    expect(execError.code).to.equal(Code.PERMISSION_DENIED);
    const ordinary = { source: imageSource(bench.image), command: { arguments: ["true"] } };
    const made = await alice.containers.createContainer({ engine: "docker", spec: ordinary });
    bench.forget(made.container?.id ?? "");
  });

  it("bounds the calls that an identity has under way, and the connections of a listener", async () => {
    const watcher = plain(2);
    const signals = [0, 1, 2].map(() => new AbortController());
    const streams = signals.map(({ signal }) =>
      watcher.engines.streamEvents({ engine: "docker" }, { signal }),
    );
    for (const stream of streams) await stream.next();
    const error = await failure(watcher.engines.listEngines({}));
    expect(error).to.include({
      code: Code.RESOURCE_EXHAUSTED,
      reason: "CONCURRENCY_LIMIT_EXCEEDED",
    });
    for (const signal of signals) signal.abort();
    await eventually(async () => {
      try {
        return await watcher.engines.listEngines({});
      } catch {
        return undefined;
      }
    });
    const path = join(directory, "b.sock");
    const sockets = [0, 1, 2].map(() => connect(path));
    // The server lets go of what exceeds its two, and keeps serving those.
    await Promise.race(
      sockets.map((socket) => new Promise((resolve) => socket.on("close", resolve))),
    );
    await watcher.engines.listEngines({});
    for (const socket of sockets) socket.destroy();
  });

  it("takes renewed certificates for new connections, and goes on with the streams that stand", async () => {
    const { bench } = open();
    const before = clientsOf(secure("alice"));
    const client = new AbortController();
    const events = before.engines.streamEvents({ engine: "docker" }, { signal: client.signal });
    await events.next();
    const renewed = mkdtempSync(join(directory, "renewed-"));
    makeCertificates(renewed);
    makeCertificate(renewed, "alice", "URI:spiffe://nap.test/alice");
    for (const name of ["ca.pem", "server.pem", "server.key"]) {
      copyFileSync(join(renewed, name), join(directory, name));
    }
    const file = (name: string): Buffer => readFileSync(join(renewed, name));
    const fresh = await eventually(async () => {
      const trust = credentials.createSsl(file("ca.pem"), file("alice.key"), file("alice.pem"));
      const channel = openChannel(nap.addresses[1] ?? "", trust);
      opened.push(channel);
      const clients = clientsOf(channel);
      try {
        await clients.engines.listEngines({}, { timeoutMillis: 2000 });
        return clients;
      } catch {
        return undefined;
      }
    });
    const spec = { source: imageSource(bench.image), command: { arguments: ["true"] } };
    const made = await fresh.containers.createContainer({ engine: "docker", spec });
    bench.forget(made.container?.id ?? "");
    const seen = await events.next();
    expect(seen.done).to.equal(false);
    client.abort();
    await failure(all(events));
  });
}

const bindOf = (hostPath: string) => ({ origin: { case: "hostPath" as const, value: hostPath } });

/** An identity with own_resources_only sees and touches what it made itself, and nothing else. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import type { ServiceError } from "@grpc/grpc-js";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import Docker from "dockerode";
import type { Event } from "../../gen/nap/v1/engine_service_pb.js";
import { EventResource } from "../../gen/nap/v1/engine_service_pb.js";
import { ListView } from "../../gen/nap/v1/types_pb.js";
import type { SpecInit } from "../conformance/bench.js";
import { Bench, eventually } from "../conformance/bench.js";
import type { RpcError } from "../support/client.js";
import { all, failure, openChannel, resultOf } from "../support/client.js";
import type { TestNap } from "../support/engines/nap.js";
import { clientsOf, startNap } from "../support/engines/nap.js";
import type { DockerBench } from "../docker/cases.js";
import { eventsIn, statsIn } from "../support/batches.js";
import { imageSource } from "../support/requests/source.js";

const engine = "docker";
const volumeMount = (volume: string) => ({
  target: "/v",
  source: { case: "volume" as const, value: { volume } },
});
const attached = (network: string, endpoint = {}) => ({
  networks: [{ network, endpoint }],
});

/** Declares the cases. `open` gives their bench when the tests run. */
export function ownershipCases(open: () => DockerBench): void {
  const opened: { close(): void }[] = [];
  let nap: TestNap;
  let docker: Docker;
  /** Each sees the same dockerd over a socket, and so an identity, of its own. */
  let admin: Bench;
  let alice: Bench;
  let bob: Bench;
  /** What bob has: a container that runs, with his volume and on his network. */
  let his: { id: string; name: string; volume: string; network: string; networkId: string };

  before(async () => {
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "ownership-"));
    const socket = (name: string): string => `unix://${directory}/${name}.sock`;
    const identity = {
      role: "operate",
      privileged_options: true,
      image_changes: true,
      own_resources_only: true,
    };
    nap = await startNap(directory, {
      engines: { docker: { driver: "docker", url: `unix://${dockerd.socket}` } },
      listen: [
        socket("admin"),
        { address: socket("alice"), identity: "alice" },
        { address: socket("bob"), identity: "bob" },
      ],
      identities: {
        alice: identity,
        bob: identity,
      },
    });
    docker = new Docker({ socketPath: dockerd.socket });
    [admin, alice, bob] = [0, 1, 2].map((index) => {
      const channel = openChannel(nap.addresses[index] ?? "");
      opened.push(channel);
      const { image, rootfs, hostDirectory } = bench;
      return new Bench(clientsOf(channel), engine, image, rootfs, hostDirectory);
    }) as [Bench, Bench, Bench];
  });

  beforeEach(async () => {
    const [volume, name] = [bob.name("bobs-volume"), bob.name("bobs-network")];
    await bob.nap.volumes.createVolume({ engine, name: volume });
    bob.cleanUp(() => bob.nap.volumes.removeVolume({ engine, volume }));
    const { network } = await bob.nap.networks.createNetwork({ engine, name });
    bob.cleanUp(() => bob.nap.networks.removeNetwork({ engine, network: name }));
    const spec = { mounts: [volumeMount(volume)], ...attached(name) };
    const container = await bob.start({ ...spec, tty: true });
    his = {
      id: container.id,
      name: container.name,
      volume,
      network: name,
      networkId: network?.id ?? "",
    };
  });

  afterEach(async () => {
    for (const bench of [alice, bob, admin]) await bench?.tidy();
  });

  after(async () => {
    for (const channel of opened) channel.close();
    expect(await nap?.stop()).to.equal(0);
  });

  /** The bytes of a failure, with what was sent taken out. */
  const told = (error: RpcError, sent: string): string => {
    const { code, details, metadata } = error.cause as ServiceError;
    const bytes = Buffer.from(metadata.get("grpc-status-details-bin")[0] ?? "");
    return `${code} ${details} ${bytes.toString("latin1")}`.replaceAll(sent, "<sent>");
  };

  /** Makes sure that a call with bob's thing fails byte for byte as with what does not exist. */
  async function unseen(
    reason: string,
    references: readonly string[],
    call: (reference: string) => Promise<unknown>,
  ): Promise<void> {
    for (const reference of references) {
      const missing = "z".repeat(reference.length);
      const expected = await failure(call(missing));
      expect(expected).to.include({ code: Code.NOT_FOUND, reason });
      const error = await failure(call(reference));
      expect(told(error, reference)).to.equal(told(expected, missing));
    }
  }

  const waysToName = (): string[] => [his.name, his.id, his.id.slice(0, 12), his.id.slice(0, 3)];
  const specOf = (spec: SpecInit) =>
    ({
      source: imageSource(alice.image),
      command: { arguments: ["true"] },
      ...spec,
    }) as { source: ReturnType<typeof imageSource> };

  it("does not find a container of another by any of its names, whatever the call", async () => {
    const { containers, networks } = alice.nap;
    const mine = (await alice.nap.networks.createNetwork({ engine, name: alice.name("net") }))
      .network?.id;
    const network = mine ?? "";
    alice.cleanUp(() => networks.removeNetwork({ engine, network }));
    const exec = { command: ["true"] };
    const size = { columns: 80, rows: 24 };
    const calls: ((container: string) => Promise<unknown>)[] = [
      (container) => containers.getContainer({ engine, container }),
      (container) => containers.startContainer({ engine, container }),
      (container) => containers.stopContainer({ engine, container }),
      (container) => containers.restartContainer({ engine, container }),
      (container) => containers.killContainer({ engine, container }),
      (container) => containers.pauseContainer({ engine, container }),
      (container) => containers.unpauseContainer({ engine, container }),
      (container) => containers.renameContainer({ engine, container, newName: alice.name("new") }),
      (container) =>
        containers.updateContainer({ engine, container, resources: { cpuShares: 512n } }),
      (container) => containers.removeContainer({ engine, container, force: true }),
      (container) => containers.execContainerSync({ engine, container, exec }),
      (container) => containers.listContainerProcesses({ engine, container }),
      (container) => containers.listContainerChanges({ engine, container }),
      (container) => containers.commitContainer({ engine, container }),
      (container) => containers.resizeContainerTerminal({ engine, container, size }),
      (container) => containers.statContainerPath({ engine, container, path: "/etc" }),
      (container) => all(containers.readContainerArchive({ engine, container, path: "/etc" })),
      (container) => all(containers.exportContainer({ engine, container })),
      (container) => all(containers.streamContainerLogs({ engine, container })),
      (container) => all(containers.waitContainer({ engine, container })),
      (container) =>
        resultOf(
          containers.writeContainerArchive([
            { payload: { case: "open", value: { engine, container, path: "/" } } },
          ]),
        ),
      (container) =>
        all(
          containers.execContainer([
            { payload: { case: "open", value: { engine, container, exec } } },
          ]),
        ),
      (container) =>
        all(
          containers.attachContainer([{ payload: { case: "open", value: { engine, container } } }]),
        ),
      (container) => networks.connectContainer({ engine, container, network }),
      (container) => networks.disconnectContainer({ engine, container, network, force: true }),
    ];
    for (const call of calls) {
      await unseen("CONTAINER_NOT_FOUND", waysToName(), call);
    }
    expect((await bob.get(his.id)).restartCount).to.equal(0);
    expect(await bob.exec(his.id, "echo alive")).to.equal("alive");
  }).timeout(120_000);

  it("does not find volumes and networks of another", async () => {
    const { volumes, networks } = alice.nap;
    const { id } = await alice.start({});
    const names = [his.network, his.networkId.slice(0, 12), his.networkId];
    for (const call of [
      (network: string) => networks.getNetwork({ engine, network }),
      (network: string) => networks.removeNetwork({ engine, network }),
      (network: string) => networks.connectContainer({ engine, container: id, network }),
      (network: string) => networks.disconnectContainer({ engine, container: id, network }),
      (network: string) => alice.create(attached(network)),
    ]) {
      await unseen("NETWORK_NOT_FOUND", names, call);
    }
    for (const call of [
      (volume: string) => volumes.getVolume({ engine, volume }),
      (volume: string) => volumes.removeVolume({ engine, volume, force: true }),
      (volume: string) => alice.create({ mounts: [volumeMount(volume)] }),
    ]) {
      await unseen("VOLUME_NOT_FOUND", [his.volume], call);
    }
  }).timeout(60_000);

  it("takes no part of a container of another for one of its own", async () => {
    const { containers } = alice.nap;
    const other = (value: string) => ({ case: "container" as const, value });
    const specs: ((container: string) => SpecInit)[] = [
      (container) => ({ volumesFrom: [{ container }] }),
      (container) => ({ namespaces: { network: { mode: other(container) } } }),
      (container) => ({ namespaces: { pid: { mode: other(container) } } }),
      (container) => ({ namespaces: { ipc: { mode: other(container) } } }),
      (container) => attached("bridge", { links: [{ container }] }),
    ];
    for (const spec of specs) {
      await unseen("CONTAINER_NOT_FOUND", waysToName(), (name) => alice.create(spec(name)));
    }
    await unseen("CONTAINER_NOT_FOUND", waysToName(), (container) =>
      all(containers.runContainer({ engine, spec: specOf({ volumesFrom: [{ container }] }) })),
    );
    // Its own may be used so.
    const { id, name } = await alice.start({ mounts: [{ target: "/t", source: anonymous }] });
    await alice.create({
      volumesFrom: [{ container: name }],
      namespaces: { network: { mode: other(id.slice(0, 12)) } },
    });
    const linked = await alice.run(
      attached("bridge", { links: [{ container: id.slice(0, 12) }] }),
      "cat /etc/hosts",
    );
    expect(linked.stdout).to.include(name);
  }).timeout(60_000);

  const anonymous = { case: "volume" as const, value: {} };

  it("lists its own things alone, and their users and endpoints", async () => {
    const name = alice.name("net");
    const { network } = await alice.nap.networks.createNetwork({ engine, name });
    alice.cleanUp(() => alice.nap.networks.removeNetwork({ engine, network: name }));
    const volume = alice.name("volume");
    await alice.nap.volumes.createVolume({ engine, name: volume });
    alice.cleanUp(() => alice.nap.volumes.removeVolume({ engine, volume }));
    const { id } = await alice.start({ mounts: [volumeMount(volume)], ...attached(name) });
    // The operator may join what is whose he likes; she does not see his containers for that.
    const guest = await admin.start({ mounts: [volumeMount(volume)], ...attached(name) });
    // What alice has made is in use as long as the guest is there.
    alice.cleanUp(() => admin.tidy());
    for (const view of [ListView.BASIC, ListView.FULL]) {
      const { containers } = await alice.nap.containers.listContainers({ engine, view });
      expect(containers.map((each) => [each.id, each.owner])).to.deep.equal([[id, "alice"]]);
      const { networks } = await alice.nap.networks.listNetworks({ engine, view });
      expect(networks.map((each) => [each.id, each.owner])).to.deep.equal([[network?.id, "alice"]]);
      const { volumes } = await alice.nap.volumes.listVolumes({ engine, view });
      expect(volumes.map((each) => [each.name, each.owner])).to.deep.equal([[volume, "alice"]]);
    }
    const shown = (await alice.nap.networks.getNetwork({ engine, network: name })).network;
    expect(shown?.endpoints.map(({ containerId }) => containerId)).to.deep.equal([id]);
    const filters = [
      { ids: [his.id] },
      { names: [his.name] },
      { networks: [his.network] },
      { volumes: [his.volume] },
    ];
    for (const filter of filters) {
      const found = await alice.nap.containers.listContainers({ engine, filter });
      expect(found.containers, JSON.stringify(filter)).to.deep.equal([]);
    }
    await alice.nap.containers.removeContainer({ engine, container: id, force: true });
    for (const refused of [
      alice.nap.volumes.removeVolume({ engine, volume }),
      alice.nap.networks.removeNetwork({ engine, network: name }),
    ]) {
      const error = await failure(refused);
      expect(error).to.include({ reason: "RESOURCE_IN_USE" });
      expect(told(error, "\n\n")).not.to.include(guest.name).and.not.to.include(guest.id);
    }
  });

  it("tells nothing of another in its streams, while that one works", async () => {
    const stop = new AbortController();
    const { signal } = stop;
    const seen = { events: [] as Event[], watched: [] as string[], stats: [] as string[] };
    const until = (stream: Promise<void>): Promise<unknown> => failure(stream);
    let ready = 0;
    const events = until(
      (async () => {
        for await (const message of alice.nap.engines.streamEvents({ engine }, { signal })) {
          if (message.event.case === "ready") ready++;
          seen.events.push(...eventsIn(message));
        }
      })(),
    );
    const watching = until(
      (async () => {
        for await (const { event } of alice.nap.containers.watchContainers(
          { engine },
          { signal },
        )) {
          if (event.case === "container") seen.watched.push(event.value.id);
          if (event.case === "removed") seen.watched.push(event.value.containerId);
          if (event.case === "synced") ready++;
        }
      })(),
    );
    const measuring = until(
      (async () => {
        const request = { engine, interval: { seconds: 1n } };
        for await (const message of alice.nap.containers.streamContainerStats(request, {
          signal,
        })) {
          seen.stats.push(...statsIn(message).map(({ containerId }) => containerId));
        }
      })(),
    );
    await eventually(() => (ready >= 2 ? true : undefined));
    const work = async (who: Bench): Promise<string[]> => {
      const { volumes, networks } = who.nap;
      const [volume, network] = [who.name("v"), who.name("n")];
      await volumes.createVolume({ engine, name: volume });
      const made = await networks.createNetwork({ engine, name: network });
      const { id } = await who.start({ mounts: [volumeMount(volume)], ...attached(network) });
      await who.exec(id, "true");
      return [id, volume, made.network?.id ?? "", network];
    };
    const end = async (
      who: Bench,
      [id = "", volume = "", network = ""]: string[],
    ): Promise<void> => {
      const { containers, volumes, networks } = who.nap;
      await containers.removeContainer({ engine, container: id, force: true });
      await volumes.removeVolume({ engine, volume });
      await networks.removeNetwork({ engine, network });
    };
    const [bobs, hers] = [await work(bob), await work(alice)];
    await eventually(() => (seen.stats.includes(hers[0] ?? "") ? true : undefined));
    await end(bob, bobs);
    await end(alice, hers);
    const gone = (event: Event): boolean =>
      event.resource === EventResource.NETWORK && event.engineAction === "destroy";
    await eventually(() => (seen.events.some(gone) ? true : undefined));
    await eventually(() => (seen.watched.at(-1) === hers[0] ? true : undefined));
    stop.abort();
    await Promise.all([events, watching, measuring]);
    expect(new Set(seen.watched)).to.deep.equal(new Set([hers[0]]));
    expect(new Set(seen.stats)).to.deep.equal(new Set([hers[0]]));
    const subjects = new Set(seen.events.map(({ resourceId }) => resourceId));
    expect(subjects).to.deep.equal(new Set(hers.slice(0, 3)));
    const text = JSON.stringify(seen.events, (_key, value: unknown) =>
      typeof value === "bigint" ? String(value) : value,
    );
    for (const secret of [...bobs, ...Object.values(his)]) expect(text).not.to.include(secret);
    const resources = new Set(seen.events.map(({ resource }) => resource));
    const { CONTAINER, VOLUME, NETWORK } = EventResource;
    expect(resources).to.deep.equal(new Set([CONTAINER, VOLUME, NETWORK]));
  }).timeout(60_000);

  it("does not take what another made with the same request_id or name for its own", async () => {
    const requestId = alice.name("request");
    const make = async (who: Bench): Promise<string> => {
      const spec = specOf({});
      const { container } = await who.nap.containers.createContainer({ engine, spec, requestId });
      who.forget(container?.id ?? "");
      return container?.id ?? "";
    };
    const [first, second, again] = [await make(bob), await make(alice), await make(bob)];
    expect(second).not.to.equal(first);
    expect(again).to.equal(first);
    for (const call of [
      () => alice.nap.volumes.createVolume({ engine, name: his.volume }),
      () => alice.nap.networks.createNetwork({ engine, name: his.network }),
      () => alice.nap.containers.createContainer({ engine, name: his.name, spec: specOf({}) }),
    ]) {
      const error = await failure(call());
      expect(error).to.include({ code: Code.ALREADY_EXISTS, reason: "NAME_IN_USE" });
      expect(error.message).to.match(/: the name is taken$/);
      expect(told(error, "\n\n")).not.to.include(his.id.slice(0, 12));
      expect(told(error, "\n\n")).not.to.include(his.networkId.slice(0, 12));
    }
  });

  it("owns what it made of an image that says it is another's", async () => {
    const { id: base } = await admin.create({});
    const repo = alice.name("forged");
    const changes = ["LABEL nap.v1.owner=bob nap.v1.request-id=r nap.v1.platform=a/b/c"];
    const query = { repo, changes: changes.join("\n") };
    await docker.getContainer(base).commit(query);
    admin.cleanUp(() => docker.getImage(repo).remove({ force: true }));
    const labels = (await docker.getImage(repo).inspect()).Config.Labels;
    expect(labels).to.include({ "nap.v1.owner": "bob", "nap.v1.request-id": "r" });
    const container = await alice.create({ source: imageSource(repo) } as SpecInit);
    expect(container).to.include({ owner: "alice", requestId: "" });
    expect(container.spec?.platform).to.equal(undefined);
    await failure(bob.get(container.id));
  });

  it("leaves none of nap's labels to an image that is made of a container", async () => {
    const { id } = await alice.create({ labels: { kept: "yes" } });
    const reference = `${alice.name("committed")}:1`;
    await alice.nap.containers.commitContainer({ engine, container: id, reference });
    alice.cleanUp(() => alice.nap.images.removeImage({ engine, image: reference }));
    const labels = (await docker.getImage(reference).inspect()).Config.Labels;
    const own = Object.entries(labels).filter(([key]) => key.startsWith("nap.v1."));
    expect(own.map(([, value]) => value).join("")).to.equal("");
    expect(labels["kept"]).to.equal("yes");
    // Images are everybody's.
    expect((await bob.runImage(reference, {}, ["true"])).exit?.code).to.equal(0);
  });

  it("starts no container in a network that became another's under the same name", async () => {
    const name = alice.name("net");
    await alice.nap.networks.createNetwork({ engine, name });
    const { id } = await alice.create(attached(name));
    await alice.nap.networks.removeNetwork({ engine, network: name });
    await bob.nap.networks.createNetwork({ engine, name });
    bob.cleanUp(() => bob.nap.networks.removeNetwork({ engine, network: name }));
    for (const verb of ["startContainer", "restartContainer"] as const) {
      const error = await failure(alice.nap.containers[verb]({ engine, container: id }));
      expect(error).to.include({ reason: "NETWORK_NOT_FOUND" });
    }
    const plain = await alice.create(attached("bridge"));
    await alice.nap.containers.startContainer({ engine, container: plain.id });
    await alice.nap.containers.restartContainer({
      engine,
      container: plain.id,
      timeout: { seconds: 0n },
    });
  });

  it("resizes the terminal of no command that was started in another's container", async () => {
    const { id } = await alice.start({ tty: true });
    const made = await docker
      .getContainer(his.id)
      .exec({ Cmd: ["sleep", "60"], Tty: true, AttachStdout: true });
    const size = { columns: 80, rows: 24 };
    const { containers } = alice.nap;
    await unseen("EXEC_NOT_FOUND", [made.id], (execId) =>
      containers.resizeContainerTerminal({ engine, container: id, size, execId }),
    );
    await containers.resizeContainerTerminal({ engine, container: id, size });
  });

  it("refuses it what is about everybody's things", async () => {
    const error = await failure(alice.nap.engines.getDiskUsage({ engine }));
    expect(error).to.include({ code: Code.PERMISSION_DENIED, reason: "PERMISSION_DENIED" });
  });

  it("shows who has no such bound everything, and whose it is", async () => {
    const { id } = await alice.create({});
    const owners = new Map(
      (await admin.nap.containers.listContainers({ engine })).containers.map((each) => [
        each.id,
        each.owner,
      ]),
    );
    expect([owners.get(id), owners.get(his.id)]).to.deep.equal(["alice", "bob"]);
    const { network } = await admin.nap.networks.getNetwork({ engine, network: his.network });
    expect(network?.owner).to.equal("bob");
    const { volume } = await admin.nap.volumes.getVolume({ engine, volume: his.volume });
    expect(volume?.owner).to.equal("bob");
    expect((await admin.create({})).owner).to.equal("local");
    expect(volume?.spec?.labels).to.deep.equal({});
  });
}

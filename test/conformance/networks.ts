/** Networks. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { ListView } from "../../gen/nap/v1/types_pb.js";
import type { Bench, Case } from "./bench.js";
import { failure } from "./bench.js";

export const networkCases: readonly Case[] = [
  {
    name: "lets containers on one network reach each other by name and alias, and no others",
    run: async (bench) => {
      const [one, other] = [await networkFor(bench), await networkFor(bench)];
      const alias = bench.name("alias");
      const on = (network: string, aliases: string[] = []) => ({
        network: {
          mode: {
            case: "attachments" as const,
            value: { items: [{ network, endpoint: { aliases } }] },
          },
        },
      });
      const serve = ["nc", "-ll", "-p", "7000", "-e", "echo", "served"];
      const { name, endpoints } = await bench.start(on(one, [alias]), serve);
      for (const host of [name, alias]) {
        const script = `for n in 1 2 3 4 5; do nc ${host} 7000 && exit; sleep 0.2; done`;
        expect((await bench.run(on(one), script)).stdout).to.equal("served\n");
      }
      for (const host of [name, endpoints[0]?.ipv4Address]) {
        const { stdout, exit } = await bench.run(on(other), `timeout 3 nc ${host} 7000; exit $?`);
        expect(stdout).to.equal("");
        expect(exit?.code).not.to.equal(0);
      }
    },
  },
  {
    name: "attaches a container to two networks from its start, at a fixed address",
    run: async (bench) => {
      const subnet = "10.213.7.0/24";
      const addressManagement = { pools: [{ subnet, gateway: "10.213.7.1" }] };
      const one = await networkFor(bench, { addressManagement });
      const two = await networkFor(bench);
      const items = [
        { network: one, endpoint: { ipv4Address: "10.213.7.77" } },
        { network: two, endpoint: {} },
      ];
      const network = { mode: { case: "attachments" as const, value: { items } } };
      const { id, endpoints } = await bench.start({ network });
      expect(await bench.exec(id, "ip -4 addr show eth0")).to.include("10.213.7.77/24");
      expect(await bench.exec(id, "ls /sys/class/net | grep -c eth")).to.equal("2");
      expect(endpoints.map(({ network: name }) => name)).to.have.members([one, two]);
    },
  },
  {
    name: "refuses a second network under a name, and an overlapping subnet",
    run: async (bench) => {
      const { nap, engine } = bench;
      const spec = { addressManagement: { pools: [{ subnet: "10.213.9.0/24" }] } };
      const name = await networkFor(bench, spec);
      const taken = await failure(nap.networks.createNetwork({ engine, name }));
      expect(taken).to.include({ code: Code.ALREADY_EXISTS, reason: "NAME_IN_USE" });
      const overlap = await failure(
        nap.networks.createNetwork({ engine, name: bench.name("overlap"), spec }),
      );
      expect(overlap).to.include({ code: Code.FAILED_PRECONDITION, reason: "SUBNET_IN_USE" });
    },
  },
  {
    name: "refuses to remove a network in use and names its users, and one of the engine's own",
    run: async (bench) => {
      const { nap, engine } = bench;
      const network = await networkFor(bench);
      const mode = { case: "attachments" as const, value: { items: [{ network }] } };
      const { name } = await bench.start({ network: { mode } });
      const error = await failure(nap.networks.removeNetwork({ engine, network }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "RESOURCE_IN_USE" });
      expect(error.subjects).to.deep.equal([name]);
      const own = await failure(nap.networks.removeNetwork({ engine, network: "bridge" }));
      expect(own).to.include({ code: Code.FAILED_PRECONDITION, reason: "NETWORK_PREDEFINED" });
    },
  },
  {
    name: "lists networks by label, gets one with its containers, and removes it",
    run: async (bench) => {
      const { nap, engine } = bench;
      const mark = bench.name("mark");
      const network = await networkFor(bench, { labels: { mark }, internal: true });
      const filter = { labels: [{ key: "mark", value: mark }] };
      const { networks } = await nap.networks.listNetworks({ engine, filter });
      expect(networks.map(({ name }) => name)).to.deep.equal([network]);
      expect(networks[0]?.spec?.internal).to.equal(true);
      const mode = { case: "attachments" as const, value: { items: [{ network }] } };
      const { id } = await bench.start({ network: { mode } });
      const found = await nap.networks.getNetwork({ engine, network });
      expect(found.network?.endpoints.map(({ containerId }) => containerId)).to.deep.equal([id]);
      await nap.containers.removeContainer({ engine, container: id, force: true });
      await nap.networks.removeNetwork({ engine, network });
      const gone = await failure(nap.networks.getNetwork({ engine, network }));
      expect(gone).to.include({ code: Code.NOT_FOUND, reason: "NETWORK_NOT_FOUND" });
    },
  },
  {
    name: "connects and disconnects a running container, with alias and address",
    run: async (bench) => {
      const { nap, engine } = bench;
      const addressManagement = { pools: [{ subnet: "10.213.8.0/24" }] };
      const network = await networkFor(bench, { addressManagement });
      const { id: container } = await bench.start({});
      const alias = bench.name("alias");
      const endpoint = { aliases: [alias], ipv4Address: "10.213.8.88" };
      await nap.networks.connectContainer({ engine, container, network, endpoint });
      const mode = { case: "attachments" as const, value: { items: [{ network }] } };
      const { stdout } = await bench.run({ network: { mode } }, `nslookup ${alias}`);
      expect(stdout).to.include("10.213.8.88");
      const twice = await failure(nap.networks.connectContainer({ engine, container, network }));
      expect(twice).to.include({ code: Code.ALREADY_EXISTS, reason: "ENDPOINT_EXISTS" });
      const leave = nap.networks.disconnectContainer;
      expect((await leave({ engine, container, network })).changed).to.equal(true);
      expect(await bench.exec(container, "ip -4 addr")).not.to.include("10.213.8.88");
      expect((await leave({ engine, container, network })).changed).to.equal(false);
      const nobody = await failure(leave({ engine, container: "nobody", network }));
      expect(nobody).to.include({ code: Code.NOT_FOUND, reason: "CONTAINER_NOT_FOUND" });
      const nowhere = await failure(leave({ engine, container, network: "nowhere" }));
      expect(nowhere).to.include({ code: Code.NOT_FOUND, reason: "NETWORK_NOT_FOUND" });
    },
  },
  {
    name: "lists networks page by page, by id, driver and origin, and whole ones in the full view",
    run: async (bench) => {
      const { nap, engine } = bench;
      const labels = { mark: bench.name("mark") };
      const made = [await networkFor(bench, { labels }), await networkFor(bench, { labels })];
      const filter = { labels: [{ key: "mark", value: labels.mark }] };
      const first = await nap.networks.listNetworks({ engine, filter, pageSize: 1 });
      const { nextPageToken: pageToken } = first;
      const second = await nap.networks.listNetworks({ engine, filter, pageSize: 1, pageToken });
      const both = [...first.networks, ...second.networks];
      expect(both.map(({ name }) => name)).to.deep.equal(made.toSorted());
      expect(second.nextPageToken).to.equal("");
      const ids = [both[0]!.id.slice(0, 12)];
      const byId = await nap.networks.listNetworks({
        engine,
        filter: { ids, drivers: ["bridge"] },
      });
      expect(byId.networks.map(({ id }) => id)).to.deep.equal([both[0]!.id]);
      const own = await nap.networks.listNetworks({ engine, filter: { predefined: true } });
      expect(own.networks.map(({ name }) => name)).to.include.members(["bridge", "host", "none"]);
      const mode = { case: "attachments" as const, value: { items: [{ network: made[0]! }] } };
      const { id } = await bench.start({ network: { mode } });
      const view = ListView.FULL;
      const whole = await nap.networks.listNetworks({
        engine,
        filter: { names: [made[0]!] },
        view,
      });
      const at = whole.networks[0]?.endpoints.map(({ containerId }) => containerId);
      expect(at).to.deep.equal([id]);
    },
  },
  {
    name: "prunes the networks that are selected and unused",
    run: async (bench) => {
      const { nap, engine } = bench;
      const labels = { mark: bench.name("mark") };
      const [used, unused] = [
        await networkFor(bench, { labels }),
        await networkFor(bench, { labels }),
      ];
      const mode = { case: "attachments" as const, value: { items: [{ network: used }] } };
      await bench.start({ network: { mode } });
      const filter = [{ key: "mark", value: labels.mark }];
      const { networks } = await nap.networks.pruneNetworks({ engine, labels: filter });
      expect(networks).to.deep.equal([unused]);
    },
  },
  {
    name: "refuses a container on a network that is not there, when it is created",
    run: async ({ nap, engine, image }) => {
      const mode = { case: "attachments" as const, value: { items: [{ network: "no-such" }] } };
      const spec = { image, network: { mode } };
      const error = await failure(nap.containers.createContainer({ engine, spec }));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "NETWORK_NOT_FOUND" });
    },
  },
];

async function networkFor(bench: Bench, spec: object = {}): Promise<string> {
  const { nap, engine } = bench;
  const name = bench.name("network");
  await nap.networks.createNetwork({ engine, name, spec });
  bench.cleanUp(() => nap.networks.removeNetwork({ engine, network: name }));
  return name;
}

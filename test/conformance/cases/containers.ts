/** Containers: their life. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import {
  ContainerState,
  HealthStatus,
  PullPolicy,
  WaitCondition,
} from "../../../gen/nap/v1/container_service_pb.js";
import { InstanceKind } from "../../../gen/nap/v1/container_spec_pb.js";
import { ListView } from "../../../gen/nap/v1/types_pb.js";
import { all, failure as failureOf } from "../../support/client.js";
import { eventually, failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { imageSource } from "../../support/requests/source.js";

export function containerCases(test: ConformanceTest): void {
  test(
    "container.goes-through-its-states",
    "goes through created, running, exited and gone",
    async (bench) => {
      const { nap, engine } = bench;
      const { id, state, name } = await bench.create({});
      expect(state).to.equal(ContainerState.CREATED);
      expect(id).to.match(/^[0-9a-f]{64}$/);
      expect(name).not.to.equal("");
      expect(await nap.containers.startContainer({ engine, container: id })).to.include({
        changed: true,
      });
      const running = await bench.get(name);
      expect(running.state).to.equal(ContainerState.RUNNING);
      expect(running.engineState).to.be.oneOf(["", "running"]);
      expect(Number(running.pid)).to.be.greaterThan(0);
      expect(running.exit).to.equal(undefined);
      const timeout = { seconds: 0n };
      const stopped = await nap.containers.stopContainer({ engine, container: id, timeout });
      expect(stopped.changed).to.equal(true);
      const exited = await bench.get(id);
      expect(exited.state).to.equal(ContainerState.EXITED);
      expect(exited.exit?.code).to.equal(137);
      await nap.containers.removeContainer({ engine, container: id });
      const gone = await failure(nap.containers.getContainer({ engine, container: id }));
      expect(gone).to.include({ code: Code.NOT_FOUND, reason: "CONTAINER_NOT_FOUND" });
    },
  );

  test(
    "container.says-when-start-and-stop-change-nothing",
    "says of a start and a stop that change nothing that they changed nothing",
    async (bench) => {
      const { nap, engine } = bench;
      const { id } = await bench.start({});
      const again = await nap.containers.startContainer({ engine, container: id });
      expect(again.changed).to.equal(false);
      const timeout = { seconds: 0n };
      await nap.containers.stopContainer({ engine, container: id, timeout });
      const stopped = await nap.containers.stopContainer({ engine, container: id, timeout });
      expect(stopped.changed).to.equal(false);
    },
  );

  test(
    "container.is-found-by-id-prefix-and-name",
    "finds a container by id, by a unique prefix of it and by name",
    async (bench) => {
      const { id, name } = await bench.create({});
      for (const key of [id, id.slice(0, 20), name]) expect((await bench.get(key)).id).to.equal(id);
    },
  );

  test(
    "container.finds-nothing-under-path-steps",
    "finds nothing under names that are steps of a path",
    async ({ nap, engine }) => {
      for (const container of ["..", ".", "a/../b", "a//b", "../images/json"]) {
        const error = await failure(nap.containers.getContainer({ engine, container }));
        expect(error).to.include({ code: Code.NOT_FOUND, reason: "CONTAINER_NOT_FOUND" });
        const removed = await failure(nap.containers.removeContainer({ engine, container }));
        expect(removed).to.include({ code: Code.NOT_FOUND, reason: "CONTAINER_NOT_FOUND" });
      }
    },
  );

  test("container.refuses-a-taken-name", "refuses a name that is taken", async (bench) => {
    const { nap, engine, image } = bench;
    const name = bench.name("taken");
    const spec = { source: imageSource(image), command: { arguments: ["true"] } };
    const { container } = await nap.containers.createContainer({ engine, name, spec });
    bench.forget(container!.id);
    const error = await failure(nap.containers.createContainer({ engine, name, spec }));
    expect(error).to.include({ code: Code.ALREADY_EXISTS, reason: "NAME_IN_USE" });
    expect(error.info?.metadata["resource"]).to.equal(name);
  });

  test(
    "container.refuses-a-missing-image",
    "refuses an image that is not there",
    async ({ nap, engine }) => {
      const spec = { source: imageSource("no-such-image:1") };
      const pullPolicy = PullPolicy.NEVER;
      const error = await failure(nap.containers.createContainer({ engine, spec, pullPolicy }));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
      expect(error.info?.metadata).to.include({ engine, resource: "no-such-image:1" });
    },
  );

  test(
    "container.refuses-other-sources",
    "refuses sources and kinds that it does not have by their paths",
    async ({ nap, engine, image }) => {
      const origin = { case: "hostPath" as const, value: "/none" };
      const others: [field: string, spec: object][] = [
        ["root_filesystem", { source: { case: "rootFilesystem", value: { origin } } }],
        ["template", { source: { case: "template", value: { name: "debian" } } }],
        ["copy", { source: { case: "copy", value: { container: "c" } } }],
        ["kind", { source: imageSource(image), kind: InstanceKind.SYSTEM }],
        ["kind", { source: imageSource(image), kind: InstanceKind.VIRTUAL_MACHINE }],
      ];
      for (const [field, spec] of others) {
        const error = await failureOf(nap.containers.createContainer({ engine, spec }));
        expect(error.reason, field).to.equal("FIELD_UNSUPPORTED");
        expect(error.fields.map((path) => path.split(".")[1])).to.include(field);
      }
    },
  );

  test(
    "container.is-of-the-kind-that-it-is-said-to-be",
    "runs a container that is said to be one",
    async (bench) => {
      const { stdout } = await bench.run({ kind: InstanceKind.CONTAINER }, "echo so");
      expect(stdout).to.equal("so\n");
    },
  );

  test(
    "container.creates-one-for-a-repeated-request",
    "makes one container of a create repeated with its request_id",
    async (bench) => {
      const { nap, engine, image } = bench;
      const requestId = bench.name("request");
      const spec = {
        source: imageSource(image),
        command: { arguments: ["true"] },
        labels: { a: "1", b: "2" },
      };
      const request = { engine, requestId, spec };
      const twice = await Promise.all([
        nap.containers.createContainer(request),
        nap.containers.createContainer({
          ...request,
          spec: { ...spec, labels: { b: "2", a: "1" } },
        }),
      ]);
      const ids = twice.map(({ container }) => container?.id);
      bench.forget(ids[0]!);
      expect(ids[0]).to.equal(ids[1]);
      expect(twice[1]?.container).to.deep.include({ requestId });
      expect(twice[1]?.container?.spec?.labels).to.deep.equal({ a: "1", b: "2" });
      const other = { ...request, spec: { ...spec, user: "1000" } };
      const error = await failure(nap.containers.createContainer(other));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "REQUEST_ID_REUSED" });
    },
  );

  test("container.sends-a-signal", "sends a signal that the process can catch", async (bench) => {
    const { nap, engine } = bench;
    const script = "trap 'echo caught; exit 7' HUP; echo ready; while :; do sleep 0.05; done";
    const { id } = await bench.start({}, ["sh", "-c", script]);
    const logs = nap.containers.streamContainerLogs({ engine, container: id, follow: true });
    for await (const { event } of logs) if (event.case === "batch") break;
    await nap.containers.killContainer({ engine, container: id, signal: "SIGHUP" });
    const waited = await all(nap.containers.waitContainer({ engine, container: id }));
    expect(waited.at(-1)?.event).to.deep.include({ case: "exited" });
    expect((await bench.get(id)).exit?.code).to.equal(7);
  });

  test(
    "container.refuses-to-kill-what-does-not-run",
    "refuses to kill what does not run, and a signal that does not exist",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.create({});
      const stopped = await failure(nap.containers.killContainer({ engine, container }));
      expect(stopped).to.include({
        code: Code.FAILED_PRECONDITION,
        reason: "CONTAINER_NOT_RUNNING",
      });
      await nap.containers.startContainer({ engine, container });
      const signal = "SIGNOTHING";
      const unknown = await failure(nap.containers.killContainer({ engine, container, signal }));
      expect(unknown).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(unknown.fields).to.deep.equal(["signal"]);
    },
  );

  test(
    "container.refuses-to-remove-a-running-one-unless-forced",
    "refuses to remove a running container unless forced",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({});
      const error = await failure(nap.containers.removeContainer({ engine, container }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "CONTAINER_RUNNING" });
      await nap.containers.removeContainer({ engine, container, force: true });
      const gone = await failure(nap.containers.getContainer({ engine, container }));
      expect(gone.code).to.equal(Code.NOT_FOUND);
    },
  );

  test(
    "container.arms-a-wait-before-the-start",
    "arms a wait before the start and reports the exit",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.create({}, ["sh", "-c", "exit 5"]);
      const condition = WaitCondition.NEXT_EXIT;
      const wait = nap.containers.waitContainer({ engine, container, condition });
      const first = await wait.next();
      expect(first.value?.event).to.deep.include({ case: "ready" });
      await nap.containers.startContainer({ engine, container });
      const second = await wait.next();
      expect(second.value?.event.case).to.equal("exited");
      expect(second.value?.event.value).to.include({ code: 5, oomKilled: false });
      expect((await wait.next()).done).to.equal(true);
    },
  );

  test(
    "container.reports-the-exit-of-an-auto-removed-one",
    "reports the exit of a container that is removed by itself",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.create({ autoRemove: true }, ["sh", "-c", "exit 6"]);
      const condition = WaitCondition.REMOVED;
      const wait = nap.containers.waitContainer({ engine, container, condition });
      await wait.next();
      await nap.containers.startContainer({ engine, container });
      const second = await wait.next();
      expect(second.value?.event.value).to.include({ code: 6 });
      const gone = await failure(nap.containers.getContainer({ engine, container }));
      expect(gone.code).to.equal(Code.NOT_FOUND);
    },
  );

  test(
    "container.lists-by-label-and-state-in-pages",
    "lists containers by label and state, page by page, each once",
    async (bench) => {
      const { nap, engine } = bench;
      const mark = bench.name("mark");
      const made = [];
      for (let n = 0; n < 5; n++) made.push(await bench.create({ labels: { mark } }));
      await nap.containers.startContainer({ engine, container: made[2]!.id });
      const filter = { labels: [{ key: "mark", value: mark }] };
      const seen: string[] = [];
      let pageToken = "";
      do {
        const page = await nap.containers.listContainers({
          engine,
          filter,
          pageSize: 2,
          pageToken,
        });
        expect(page.containers.length).to.be.at.most(2);
        seen.push(...page.containers.map(({ id }) => id));
        ({ nextPageToken: pageToken } = page);
      } while (pageToken !== "");
      expect(seen.toSorted()).to.deep.equal(made.map(({ id }) => id).toSorted());
      const states = [ContainerState.RUNNING];
      const running = await nap.containers.listContainers({
        engine,
        filter: { ...filter, states },
      });
      expect(running.containers.map(({ id }) => id)).to.deep.equal([made[2]!.id]);
    },
  );

  test(
    "container.lists-by-network-volume-image-and-exit",
    "lists containers by what they are attached to, made of, and ended with",
    async (bench) => {
      const { nap, engine, image } = bench;
      const volume = bench.name("volume");
      bench.cleanUp(() => nap.volumes.removeVolume({ engine, volume }));
      const network = bench.name("network");
      await nap.networks.createNetwork({ engine, name: network });
      bench.cleanUp(() => nap.networks.removeNetwork({ engine, network }));
      const mounts = [{ target: "/v", source: { case: "volume" as const, value: { volume } } }];
      const exposedPorts = [{ containerPort: 7123 }];
      const check = { case: "shellCommand" as const, value: "true" };
      const healthCheck = { check, interval: { nanos: 100_000_000 } };
      const one = await bench.start({ mounts, networks: [{ network }], healthCheck });
      const two = await bench.run({}, "exit 77");
      const three = await bench.start({ networkConfig: { exposedPorts } });
      await eventually(async () =>
        (await bench.get(one.id)).health === HealthStatus.HEALTHY ? true : undefined,
      );
      const found = async (filter: object): Promise<string[]> =>
        (await nap.containers.listContainers({ engine, filter })).containers.map(({ id }) => id);
      expect(await found({ volumes: [volume] })).to.deep.equal([one.id]);
      expect(await found({ networks: [network] })).to.deep.equal([one.id]);
      const { networkId = "" } = (await bench.get(one.id)).endpoints[0] ?? {};
      expect(await found({ networks: [networkId] })).to.deep.equal([one.id]);
      expect(await found({ networks: [networkId.slice(0, 20)] })).to.deep.equal([]);
      expect(await found({ healthStatuses: [HealthStatus.HEALTHY] })).to.deep.equal([one.id]);
      expect(await found({ exitCodes: [77] })).to.deep.equal([two.id]);
      expect(await found({ exposedPorts })).to.deep.equal([three.id]);
      expect(await found({ images: [image] })).to.include.members([one.id, two.id]);
      expect(await found({ ids: [one.id, two.id] })).to.have.members([one.id, two.id]);
      expect(await found({ ids: [one.id], exitCodes: [77] })).to.deep.equal([]);
    },
  );

  test(
    "container.selects-alike-in-lists-and-watches",
    "selects by whole ids, age and excluded labels, alike in lists of both views and in watches",
    async (bench) => {
      const { nap, engine } = bench;
      const labels = { mark: bench.name("mark") };
      const first = await bench.create({ labels });
      const second = await bench.create({ labels: { ...labels, keep: "yes", more: "" } });
      const third = await bench.create({ labels: { ...labels, keep: "no" } });
      const marked = [{ key: "mark", value: labels.mark }];
      const selected = async (part: object): Promise<string[]> => {
        const filter = { labels: marked, ...part };
        const found: string[][] = [];
        for (const view of [ListView.BASIC, ListView.FULL]) {
          const { containers } = await nap.containers.listContainers({ engine, filter, view });
          found.push(containers.map(({ id }) => id).toSorted());
        }
        const watched: string[] = [];
        for await (const { event } of nap.containers.watchContainers({ engine, filter })) {
          if (event.case === "container") watched.push(event.value.id);
          if (event.case === "synced") break;
        }
        expect(found).to.deep.equal([watched.toSorted(), watched.toSorted()]);
        return watched;
      };
      expect(await selected({ ids: [first.id] })).to.deep.equal([first.id]);
      expect(await selected({ ids: [first.id.slice(0, 12), ".*"] })).to.deep.equal([]);
      const { createTime: createdBefore } = await bench.get(second.id);
      expect(await selected({ createdBefore })).to.deep.equal([first.id]);
      const one = [{ key: "keep", value: "yes" }];
      expect(await selected({ excludedLabels: one })).to.have.members([first.id, third.id]);
      // One of several is enough to be left out.
      const several = [...one, { key: "other" }, { key: "more" }];
      expect(await selected({ excludedLabels: several })).to.have.members([first.id, third.id]);
      const both = { excludedLabels: [{ key: "keep" }], createdBefore: { seconds: 1n } };
      expect(await selected(both)).to.deep.equal([]);
    },
  );

  test(
    "container.lists-in-the-full-view-what-get-gives",
    "lists whole containers in the full view, and the same as Get gives",
    async (bench) => {
      const { nap, engine } = bench;
      const made = await bench.create({ workingDir: "/tmp", user: "app" });
      const filter = { names: [made.name] };
      const view = ListView.FULL;
      const { containers } = await nap.containers.listContainers({ engine, filter, view });
      expect(containers).to.deep.equal([await bench.get(made.id)]);
      const basic = await nap.containers.listContainers({ engine, filter });
      expect(basic.containers[0]?.spec).to.deep.include({ source: imageSource(bench.image) });
      expect(basic.containers[0]?.spec?.workingDir).to.equal(undefined);
    },
  );

  test(
    "container.refuses-a-foreign-page-token",
    "refuses a page token that it did not give",
    async ({ nap, engine }) => {
      const pageToken = "made-up";
      const error = await failure(nap.containers.listContainers({ engine, pageToken }));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(error.fields).to.deep.equal(["page_token"]);
    },
  );
}

/** Containers: everything that changes or shows them beyond start and stop. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { ContainerState, FileChangeKind } from "../../../gen/nap/v1/container_service_pb.js";
import { RestartMode } from "../../../gen/nap/v1/container_spec_pb.js";
import { EventAction } from "../../../gen/nap/v1/engine_service_pb.js";
import { eventsIn } from "../../support/batches.js";
import { eventually, failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";
import { imageSource } from "../../support/requests/source.js";

const MiB = 1024n * 1024n;

export function verbCases(test: ConformanceTest): void {
  test(
    "verb.restart-keeps-the-container",
    "restart gives a new run with the same container",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container, pid, startTime } = await bench.start({});
      const timeout = { seconds: 0n };
      await nap.containers.restartContainer({ engine, container, timeout });
      const again = await bench.get(container);
      expect(again.state).to.equal(ContainerState.RUNNING);
      expect(again.pid).not.to.equal(pid);
      expect(again.startTime).not.to.deep.equal(startTime);
    },
  );

  test(
    "verb.pause-freezes-and-unpause-thaws",
    "pause freezes the processes and unpause lets them go on",
    async (bench) => {
      const { nap, engine } = bench;
      const script =
        "n=0; while :; do n=$((n+1)); echo $n >/tmp/m; mv /tmp/m /tmp/n; sleep 0.02; done";
      const { id: container } = await bench.start({}, ["sh", "-c", script]);
      const count = async (): Promise<number> => Number(await bench.exec(container, "cat /tmp/n"));
      const verbs = nap.containers;
      expect((await verbs.pauseContainer({ engine, container })).changed).to.equal(true);
      expect((await verbs.pauseContainer({ engine, container })).changed).to.equal(false);
      expect((await bench.get(container)).state).to.equal(ContainerState.PAUSED);
      const exec = { command: ["true"] };
      const refused = await failure(verbs.execContainerSync({ engine, container, exec }));
      expect(refused).to.include({ code: Code.FAILED_PRECONDITION, reason: "CONTAINER_PAUSED" });
      const started = await failure(verbs.startContainer({ engine, container }));
      expect(started).to.include({ code: Code.FAILED_PRECONDITION, reason: "CONTAINER_PAUSED" });
      expect((await verbs.unpauseContainer({ engine, container })).changed).to.equal(true);
      expect((await verbs.unpauseContainer({ engine, container })).changed).to.equal(false);
      const before = await count();
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(await count()).to.be.greaterThan(before);
      await verbs.killContainer({ engine, container });
      await eventually(async () => {
        const { state } = await bench.get(container);
        return state === ContainerState.EXITED || undefined;
      });
      const stopped = await failure(verbs.pauseContainer({ engine, container }));
      expect(stopped).to.include({ reason: "CONTAINER_NOT_RUNNING" });
    },
  );

  test(
    "verb.rename-frees-the-old-name",
    "rename frees the old name and takes the new one",
    async (bench) => {
      const { nap, engine } = bench;
      const [one, two] = [await bench.create({}), await bench.create({})];
      const newName = bench.name("renamed");
      const rename = nap.containers.renameContainer;
      expect((await rename({ engine, container: one.name, newName })).changed).to.equal(true);
      expect((await rename({ engine, container: one.id, newName })).changed).to.equal(false);
      expect((await bench.get(newName)).id).to.equal(one.id);
      const gone = await failure(bench.get(one.name));
      expect(gone.code).to.equal(Code.NOT_FOUND);
      const taken = await failure(rename({ engine, container: two.id, newName }));
      expect(taken).to.include({ code: Code.ALREADY_EXISTS, reason: "NAME_IN_USE" });
    },
  );

  test(
    "verb.update-changes-limits-of-a-running-container",
    "update changes limits while the container runs, and leaves what is unset",
    async (bench) => {
      const { nap, engine } = bench;
      const resources = { memoryLimitBytes: 32n * MiB, cpuShares: 512n };
      const { id: container } = await bench.start({ resources });
      const limits =
        "cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.shares";
      const seen = async (): Promise<string[]> =>
        (await bench.exec(container, `cd /sys/fs/cgroup; ${limits}`)).split("\n");
      const [memory, both, shares] = await seen();
      expect([memory, both, shares]).to.deep.equal([String(32n * MiB), String(64n * MiB), "512"]);
      const update = { memoryLimitBytes: 48n * MiB };
      const after = await nap.containers.updateContainer({ engine, container, resources: update });
      // 32 MiB of swap stay, as nothing was said of it.
      expect(await seen()).to.deep.equal([String(48n * MiB), String(80n * MiB), "512"]);
      expect(after.container?.spec?.resources?.memoryLimitBytes).to.equal(48n * MiB);
      const cpus = {
        cpuShares: 256n,
        cpuQuotaMicros: 50_000n,
      };
      await nap.containers.updateContainer({ engine, container, resources: cpus });
      expect((await seen())[2]).to.equal("256");
      const quota = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us";
      expect(await bench.exec(container, quota)).to.equal("50000");
      const restartPolicy = { mode: RestartMode.ALWAYS };
      const restarts = await nap.containers.updateContainer({ engine, container, restartPolicy });
      expect(restarts.container?.spec?.restartPolicy?.mode).to.equal(RestartMode.ALWAYS);
      await nap.containers.updateContainer({
        engine,
        container,
        restartPolicy: { mode: RestartMode.NO },
      });
    },
  );

  test(
    "verb.update-clears-what-is-named",
    "update takes away what clear names, while the container runs, and leaves the rest",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({
        restartPolicy: { mode: RestartMode.UNLESS_STOPPED },
        resources: {
          memoryLimitBytes: 32n * MiB,
          swapLimit: { case: "swapLimitBytes", value: 8n * MiB },
          cpuShares: 512n,
          cpuPeriodMicros: 50_000n,
          cpuQuotaMicros: 25_000n,
          pidsLimit: { case: "pidsLimitCount", value: 50n },
        },
      });
      const files = [
        "memory/memory.limit_in_bytes",
        "memory/memory.memsw.limit_in_bytes",
        "cpu/cpu.shares",
        "cpu/cpu.cfs_period_us",
        "cpu/cpu.cfs_quota_us",
        "pids/pids.max",
      ];
      const seen = async (): Promise<string[]> =>
        (await bench.exec(container, `cd /sys/fs/cgroup; cat ${files.join(" ")}`)).split("\n");
      const limit = String(32n * MiB);
      const before = [limit, String(40n * MiB), "512", "50000", "25000", "50"];
      expect(await seen()).to.deep.equal(before);
      const quota = ["resources.cpu_quota_micros", "restart_policy"];
      const first = await nap.containers.updateContainer({ engine, container, clear: quota });
      expect(await seen()).to.deep.equal(before.with(4, "-1"));
      expect(first.container?.spec?.restartPolicy).to.equal(undefined);
      expect(first.container?.spec?.resources?.cpuQuotaMicros).to.equal(undefined);
      const clear = [
        "resources.cpu_shares",
        "resources.cpu_period_micros",
        "resources.pids_limit",
        "resources.swap_limit",
      ];
      const second = await nap.containers.updateContainer({
        engine,
        container,
        resources: { memoryLimitBytes: 48n * MiB },
        clear,
      });
      const both = String(96n * MiB);
      expect(await seen()).to.deep.equal([String(48n * MiB), both, "1024", "100000", "-1", "max"]);
      const resources = second.container?.spec?.resources;
      expect(resources?.pidsLimit.case).to.equal(undefined);
      expect(resources?.memoryLimitBytes).to.equal(48n * MiB);
      // It stays so over another start.
      await nap.containers.restartContainer({ engine, container, timeout: {} });
      expect(await seen()).to.deep.equal([String(48n * MiB), both, "1024", "100000", "-1", "max"]);
    },
  );

  test(
    "verb.update-refuses-wrong-clears",
    "update refuses to clear what does not exist and what it sets",
    async (bench) => {
      const { nap, engine } = bench;
      const resources = { cpuShares: 512n, memoryLimitBytes: 32n * MiB };
      const { id: container } = await bench.start({ resources });
      const clear = ["resources.cpu_share", "resources.cpu_shares", "restart_policy"];
      const request = { engine, container, clear, resources: { cpuShares: 256n } };
      const error = await failure(nap.containers.updateContainer(request));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(error.fields).to.deep.equal(["clear[0]", "clear[1]"]);
      expect(error.message).to.include("resources.cpu_shares");
      expect((await bench.get(container)).spec?.resources?.cpuShares).to.equal(512n);
    },
  );

  test(
    "verb.prune-removes-what-is-stopped-and-selected",
    "prune removes what is stopped and selected, and nothing else",
    async (bench) => {
      const { nap, engine } = bench;
      const mark = bench.name("mark");
      const labels = { mark };
      const stopped = await bench.create({ labels });
      const kept = await bench.create({ labels: { ...labels, keep: "" } });
      const running = await bench.start({ labels });
      const filter = {
        labels: [{ key: "mark", value: mark }],
        excludedLabels: [{ key: "keep" }],
      };
      const { createTime } = await bench.get(stopped.id);
      const early = { engine, filter: { ...filter, createdBefore: createTime! } };
      expect((await nap.containers.pruneContainers(early)).containerIds).to.deep.equal([]);
      const done = await nap.containers.pruneContainers({ engine, filter });
      expect(done.containerIds).to.deep.equal([stopped.id]);
      for (const { id } of [kept, running]) expect((await bench.get(id)).id).to.equal(id);
      const before1970 = { createdBefore: { seconds: -1000n } };
      const none = await nap.containers.pruneContainers({ engine, filter: before1970 });
      expect(none.containerIds).to.deep.equal([]);
    },
  );

  test("verb.top-lists-processes", "lists the processes of a container", async (bench) => {
    const { nap, engine } = bench;
    const command = ["sh", "-c", "sleep 61 & exec sleep 62"];
    const { id: container, pid } = await bench.start({ user: "app" }, command);
    await bench.exec(
      container,
      "for n in 1 2 3 4 5; do pgrep -f 'sleep 61' && break; sleep 0.1; done",
    );
    const { processes } = await nap.containers.listContainerProcesses({ engine, container });
    const found = processes.map(({ command: line, uid }) => [line, uid]);
    expect(found).to.deep.include.members([
      ["sleep 61", 1000],
      ["sleep 62", 1000],
    ]);
    const first = processes.find(({ command: line }) => line === "sleep 62");
    expect(first?.pid).to.equal(pid);
    const request = { engine, container, pageSize: 1 };
    const one = await nap.containers.listContainerProcesses(request);
    const { nextPageToken: pageToken } = one;
    const two = await nap.containers.listContainerProcesses({ ...request, pageToken });
    const pids = processes.map((each) => each.pid).toSorted((a, b) => Number(a - b));
    const paged = [...one.processes, ...two.processes].map((each) => each.pid);
    expect(paged).to.deep.equal(pids.slice(0, 2));
    await nap.containers.killContainer({ engine, container });
    const { id: created } = await bench.create({});
    const error = await failure(
      nap.containers.listContainerProcesses({ engine, container: created }),
    );
    expect(error).to.include({ reason: "CONTAINER_NOT_RUNNING" });
  });

  test(
    "verb.diff-lists-changed-files-in-pages",
    "lists the changes in a container's files, page by page",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.run(
        {},
        "echo x >/new; rm /data/seed; echo y >>/etc/group",
      );
      const seen = new Map<string, FileChangeKind>();
      let pageToken = "";
      do {
        const page = await nap.containers.listContainerChanges({
          engine,
          container,
          pageSize: 2,
          pageToken,
        });
        for (const { path, kind } of page.changes) seen.set(path, kind);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(seen.get("/new")).to.equal(FileChangeKind.ADDED);
      expect(seen.get("/data/seed")).to.equal(FileChangeKind.DELETED);
      expect(seen.get("/etc/group")).to.equal(FileChangeKind.MODIFIED);
    },
  );

  test(
    "verb.commit-makes-an-image",
    "commit makes an image with the container's files and further configuration",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.run({}, "echo committed >/file");
      const reference = `${bench.name("committed")}:1`;
      const { imageId } = await nap.containers.commitContainer({
        engine,
        container,
        reference,
        author: "somebody",
        message: "why",
        instructions: ['ENTRYPOINT ["cat"]'],
      });
      bench.cleanUp(() => nap.images.removeImage({ engine, image: reference, force: true }));
      const { image } = await nap.images.getImage({ engine, image: reference });
      expect(image?.id).to.equal(imageId);
      expect(image?.author).to.equal("somebody");
      const whole = await nap.images.getImageHistory({ engine, image: imageId });
      const first = await nap.images.getImageHistory({ engine, image: imageId, pageSize: 1 });
      const { nextPageToken: pageToken } = first;
      const rest = await nap.images.getImageHistory({ engine, image: imageId, pageToken });
      expect(first.entries[0]?.imageId).to.equal(imageId);
      expect([...first.entries, ...rest.entries]).to.deep.equal(whole.entries);
      expect(rest.entries).to.have.length(whole.entries.length - 1);
      expect(image?.config?.entrypoint?.arguments).to.deep.equal(["cat"]);
      const { id } = await bench.create({ source: imageSource(reference) } as object, ["/file"]);
      await nap.containers.startContainer({ engine, container: id });
      const logs = nap.containers.streamContainerLogs({ engine, container: id, follow: true });
      for await (const { event } of logs) {
        if (event.case !== "batch") continue;
        expect(Buffer.from(event.value.entries[0]!.data).toString()).to.equal("committed\n");
      }
    },
  );

  test(
    "verb.commit-pauses-a-running-container-by-default",
    "commit pauses a running container by default, and does not where pause is false",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({});
      const actions = [EventAction.PAUSE, EventAction.RENAME];
      const events = nap.engines.streamEvents({
        engine,
        filter: { containers: [container], actions },
      });
      await events.next();
      const reference = `${bench.name("committed")}:1`;
      bench.cleanUp(() => nap.images.removeImage({ engine, image: reference, force: true }));
      const pauses = [undefined, true, false];
      for (const pause of pauses) {
        const request = { engine, container, reference, ...(pause !== undefined && { pause }) };
        await nap.containers.commitContainer(request);
        await nap.containers.renameContainer({ engine, container, newName: bench.name("mark") });
      }
      const seen: EventAction[] = [];
      for await (const message of events) {
        seen.push(...eventsIn(message).map(({ action }) => action));
        if (seen.filter((action) => action === EventAction.RENAME).length === pauses.length) break;
      }
      const { PAUSE, RENAME } = EventAction;
      expect(seen).to.deep.equal([PAUSE, RENAME, PAUSE, RENAME, RENAME]);
    },
  );

  test(
    "verb.resizes-a-terminal",
    "resizes a terminal, and refuses where there is none",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container } = await bench.start({ tty: true });
      const size = { columns: 111, rows: 33 };
      await nap.containers.resizeContainerTerminal({ engine, container, size });
      expect(await bench.exec(container, "stty size </proc/1/fd/0")).to.equal("33 111");
      const { id: plain } = await bench.start({});
      const error = await failure(
        nap.containers.resizeContainerTerminal({ engine, container: plain, size }),
      );
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "NO_TERMINAL" });
      const execId = "no-such";
      const gone = await failure(
        nap.containers.resizeContainerTerminal({ engine, container, size, execId }),
      );
      expect(gone).to.include({ code: Code.NOT_FOUND, reason: "EXEC_NOT_FOUND" });
    },
  );

  test(
    "verb.counts-disk-usage",
    "counts the disk that images, containers and volumes take",
    async (bench) => {
      const { nap, engine } = bench;
      await bench.run({}, "head -c 300000 /dev/zero >/big");
      const usage = await nap.engines.getDiskUsage({ engine });
      expect(Number(usage.containers?.sizeBytes)).to.be.at.least(300_000);
      expect(Number(usage.containers?.reclaimableBytes)).to.be.at.least(300_000);
      expect(usage.images?.count).to.be.at.least(1);
      expect(usage.images?.activeCount).to.be.at.least(1);
      expect(Number(usage.images?.sizeBytes)).to.be.at.least(1_000_000);
    },
  );
}

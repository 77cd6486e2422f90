/** Volumes. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { failure } from "../bench.js";
import type { ConformanceTest } from "../case.js";

export function volumeCases(test: ConformanceTest): void {
  test(
    "volume.keeps-and-shares-data",
    "keeps data beyond the container that wrote it, and shares it",
    async (bench) => {
      const volume = await bench.volume();
      const mount = { target: "/v", source: { case: "volume" as const, value: { volume } } };
      const writer = await bench.run({ mounts: [mount] }, "echo kept >/v/file");
      const { nap, engine } = bench;
      await nap.containers.removeContainer({ engine, container: writer.id, removeVolumes: true });
      const reader = await bench.run(
        { mounts: [{ ...mount, readOnly: true }] },
        "cat /v/file; touch /v/x",
      );
      expect(reader.stdout).to.equal("kept\n");
      expect(reader.stderr).to.include("Read-only file system");
    },
    { row: "volume mount" },
  );

  test(
    "volume.gives-the-same-for-the-same-spec",
    "gives the same volume for the same spec, and refuses another spec",
    async (bench) => {
      const { nap, engine } = bench;
      const name = await bench.volume({ labels: { a: "b" } });
      const spec = { labels: { a: "b" } };
      const again = await nap.volumes.createVolume({ engine, name, spec });
      expect(again.changed).to.equal(false);
      const other = { labels: { a: "c" } };
      const error = await failure(nap.volumes.createVolume({ engine, name, spec: other }));
      expect(error).to.include({ code: Code.ALREADY_EXISTS, reason: "NAME_IN_USE" });
    },
    { row: "volume create" },
  );

  test(
    "volume.creates-one-for-a-repeated-request",
    "makes one volume of a create repeated with its request_id, and refuses another request",
    async (bench) => {
      const { nap, engine } = bench;
      const requestId = bench.name("request");
      const first = await nap.volumes.createVolume({ engine, requestId });
      const volume = first.volume?.name ?? "";
      bench.cleanUp(() => nap.volumes.removeVolume({ engine, volume }));
      const again = await nap.volumes.createVolume({ engine, requestId });
      expect(again.volume?.name).to.equal(volume);
      expect(again.changed).to.equal(false);
      const other = nap.volumes.createVolume({ engine, requestId, name: bench.name("other") });
      const error = await failure(other);
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "REQUEST_ID_REUSED" });
    },
    { row: "volume create" },
  );

  test(
    "volume.makes-one-each-time-without-a-name",
    "makes a new volume each time where no name is given, and tells its labels",
    async (bench) => {
      const { nap, engine } = bench;
      const names = new Set<string>();
      for (const spec of [undefined, {}, { labels: { a: "b" } }, { driver: "" }]) {
        const { volume, changed } = await nap.volumes.createVolume({
          engine,
          ...(spec && { spec }),
        });
        const name = volume?.name ?? "";
        bench.cleanUp(() => nap.volumes.removeVolume({ engine, volume: name }));
        expect(changed).to.equal(true);
        expect(volume?.spec?.labels).to.include(spec?.labels ?? {});
        names.add(name);
        // It is the same volume, whatever labels the engine added by itself.
        const again = await nap.volumes.createVolume({ engine, name, ...(spec && { spec }) });
        expect(again.changed).to.equal(false);
      }
      expect(names.size).to.equal(4);
      expect(names).not.to.include("");
      const { volumes } = await nap.volumes.listVolumes({ engine, pageSize: 1000 });
      expect(volumes.map(({ name }) => name)).to.include.members([...names]);
    },
    { row: "volume create" },
  );

  test(
    "volume.refuses-to-remove-one-in-use",
    "refuses to remove a volume in use, and names its users",
    async (bench) => {
      const { nap, engine } = bench;
      const volume = await bench.volume();
      const source = { case: "volume" as const, value: { volume } };
      const { name } = await bench.create({ mounts: [{ target: "/v", source }] });
      const error = await failure(nap.volumes.removeVolume({ engine, volume }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "RESOURCE_IN_USE" });
      expect(error.subjects).to.deep.equal([name]);
    },
    { row: "volume remove" },
  );

  test(
    "volume.lists-in-pages-by-driver-and-use",
    "lists volumes page by page, by driver, and by whether they are used",
    async (bench) => {
      const { nap, engine } = bench;
      const mark = bench.name("mark");
      const made = [];
      for (let n = 0; n < 3; n++) made.push(await bench.volume({ labels: { mark } }));
      const labels = [{ key: "mark", value: mark }];
      const seen: string[] = [];
      let pageToken = "";
      do {
        const filter = { labels, drivers: ["local"] };
        const page = await nap.volumes.listVolumes({ engine, filter, pageSize: 2, pageToken });
        seen.push(...page.volumes.map(({ name }) => name));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(seen).to.deep.equal(made.toSorted());
      const source = { case: "volume" as const, value: { volume: made[0]! } };
      await bench.create({ mounts: [{ target: "/v", source }] });
      const excludedLabels = [{ key: "no" }, ...labels];
      const excluding = { engine, filter: { excludedLabels, names: made } };
      expect((await nap.volumes.listVolumes(excluding)).volumes).to.deep.equal([]);
      const early = { engine, filter: { labels, createdBefore: { seconds: 1000n } } };
      expect((await nap.volumes.listVolumes(early)).volumes).to.deep.equal([]);
      const unused = { labels, unused: true };
      const { volumes } = await nap.volumes.listVolumes({ engine, filter: unused });
      expect(volumes.map(({ name }) => name)).to.have.members(made.slice(1));
      const none = { labels, drivers: ["other"] };
      expect((await nap.volumes.listVolumes({ engine, filter: none })).volumes).to.deep.equal([]);
    },
    { row: "volume inspect and list" },
  );

  test(
    "volume.prunes-what-is-selected-and-unused",
    "prunes the volumes that are selected and unused",
    async (bench) => {
      const { nap, engine } = bench;
      const labels = { mark: bench.name("mark") };
      const [used, unused] = [await bench.volume({ labels }), await bench.volume({ labels })];
      const source = { case: "volume" as const, value: { volume: used } };
      await bench.create({ mounts: [{ target: "/v", source }] });
      const filter = { labels: [{ key: "mark", value: labels.mark }] };
      const request = { engine, filter, includeNamed: true };
      const { volumeNames } = await nap.volumes.pruneVolumes(request);
      expect(volumeNames).to.deep.equal([unused]);
    },
    { row: "volume prune" },
  );

  test(
    "volume.lists-by-label-gets-and-removes",
    "lists volumes by label, gets and removes them",
    async (bench) => {
      const { nap, engine } = bench;
      const mark = bench.name("mark");
      const volume = await bench.volume({ labels: { mark } });
      const filter = { labels: [{ key: "mark", value: mark }] };
      const { volumes } = await nap.volumes.listVolumes({ engine, filter });
      expect(volumes.map(({ name }) => name)).to.deep.equal([volume]);
      const found = await nap.volumes.getVolume({ engine, volume });
      expect(found.volume?.spec?.labels).to.deep.equal({ mark });
      for (const force of [false, true]) {
        if (!force) await nap.volumes.removeVolume({ engine, volume, force });
        const gone = await failure(nap.volumes.removeVolume({ engine, volume, force }));
        expect(gone).to.include({ code: Code.NOT_FOUND, reason: "VOLUME_NOT_FOUND" });
      }
    },
    { row: "volume inspect and list" },
  );

  test(
    "volume.takes-driver-options",
    "gives a volume the driver's options: a file system in memory with a size",
    async (bench) => {
      const driverOptions = { type: "tmpfs", device: "tmpfs", o: "size=1m" };
      const volume = await bench.volume({ driver: "local", driverOptions });
      const mounts = [{ target: "/v", source: { case: "volume" as const, value: { volume } } }];
      const { stdout } = await bench.run({ mounts }, "df -k /v | awk 'NR==2 {print $1, $2}'");
      expect(stdout).to.equal("tmpfs 1024\n");
      bench.seen = stdout;
    },
    { row: "volume create" },
  );

  test(
    "volume.refuses-other-driver-options",
    "refuses another spec by its driver's options too, and keeps the volume as it was",
    async (bench) => {
      const { nap, engine } = bench;
      const name = await bench.volume();
      const spec = { driverOptions: { type: "tmpfs", device: "tmpfs" } };
      const error = await failure(nap.volumes.createVolume({ engine, name, spec }));
      expect(error).to.include({ code: Code.ALREADY_EXISTS, reason: "NAME_IN_USE" });
      const { volume } = await nap.volumes.getVolume({ engine, volume: name });
      expect(volume?.spec?.driverOptions).to.deep.equal({});
      bench.seen = error.reason;
    },
    { row: "volume create" },
  );

  test(
    "volume.refuses-a-missing-driver",
    "refuses a driver that is not there",
    async (bench) => {
      const { nap, engine } = bench;
      const spec = { driver: "no-such" };
      const name = bench.name("volume");
      const error = await failure(nap.volumes.createVolume({ engine, name, spec }));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "VOLUME_DRIVER_NOT_FOUND" });
      bench.seen = error.reason;
    },
    { row: "volume create" },
  );

  test(
    "volume.refuses-to-remove-one-in-use-by-force",
    "refuses to remove a volume in use by force, too",
    async (bench) => {
      const { nap, engine } = bench;
      const volume = await bench.volume();
      const source = { case: "volume" as const, value: { volume } };
      const users = [];
      for (let n = 0; n < 2; n++) {
        users.push((await bench.start({ mounts: [{ target: "/v", source }] })).name);
      }
      const error = await failure(nap.volumes.removeVolume({ engine, volume, force: true }));
      expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "RESOURCE_IN_USE" });
      expect(error.subjects).to.have.members(users);
      bench.seen = `${error.reason}, 2 users`;
    },
    { row: "volume remove" },
  );

  test(
    "volume.is-shared-at-paths-of-each",
    "is shared by containers that run at the same time, each at its own path",
    async (bench) => {
      const volume = await bench.volume();
      const source = { case: "volume" as const, value: { volume } };
      const one = await bench.start({ mounts: [{ target: "/one", source }] });
      const two = await bench.start({ mounts: [{ target: "/two/below", source }] });
      await bench.exec(one.id, "echo from one >/one/file");
      expect(await bench.exec(two.id, "cat /two/below/file")).to.equal("from one");
      await bench.exec(two.id, "echo from two >>/two/below/file");
      expect(await bench.exec(one.id, "cat /one/file")).to.equal("from one\nfrom two");
      bench.seen = "both see what the other wrote";
    },
    { row: "volume share" },
  );
}

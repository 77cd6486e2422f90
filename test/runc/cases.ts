/** What is true of runC alone. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { pack } from "tar-stream";
import { ContainerState, PullPolicy } from "../../gen/nap/v1/container_service_pb.js";
import type { Bench } from "../conformance/bench.js";
import { Bench as NewBench, ended, eventually } from "../conformance/bench.js";
import { runsOnceWhereNapIsKilled } from "../conformance/cases/killed.js";
import { counting } from "../conformance/cases/run-once.js";
import { importMessages } from "../conformance/cases/images.js";
import { all, failure, resultOf } from "../support/client.js";
import type { TestDockerd } from "../support/engines/dockerd.js";
import type { TestNap } from "../support/engines/nap.js";
import { mountMemory } from "../support/engines/dockerd.js";
import { startNap } from "../support/engines/nap.js";
import { runcOwnershipCase } from "./ownership.js";
import { imageSource } from "../support/requests/source.js";

/** What these cases work with. */
export interface RuncBench {
  readonly dockerd: TestDockerd;
  readonly nap: TestNap;
  readonly bench: Bench;
}

/** Declares the cases. `open` gives their bench when the tests run. */
export function runcCases(open: () => RuncBench): void {
  runcOwnershipCase(open);

  it("reads users from plain files of the image alone, and never from outside it", async () => {
    const { nap, bench } = open();
    for (const [what, entry] of [
      ["pipe", { name: "etc/passwd", type: "fifo" as const }],
      ["link", { name: "etc", type: "symlink" as const, linkname: "/etc" }],
    ] as const) {
      const tar = pack();
      tar.entry({ name: "bin", type: "directory" });
      tar.entry({ name: "bin/sh", mode: 0o755 }, readFileSync("/bin/busybox"));
      if (entry.name !== "etc") tar.entry({ name: "etc", type: "directory" });
      tar.entry(entry);
      tar.finalize();
      const image = `${bench.name(`nap-${what}`)}:1`;
      const messages = importMessages("runc", { reference: image }, await buffer(tar));
      await resultOf(nap.images.importImage(messages));
      bench.cleanUp(() => nap.images.removeImage({ engine: "runc", image, force: true }));
      const spec = { source: imageSource(image), command: { arguments: ["sh"] }, user: "daemon" };
      const error = await failure(nap.containers.createContainer({ engine: "runc", spec }));
      expect(error.fields, what).to.deep.equal(["spec.user"]);
    }
  });

  it("tells that its disk is full, by an upload and by the programs that it runs", async () => {
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "full-"));
    const root = join(directory, "root");
    mkdirSync(root);
    mountMemory(dockerd.initPid, root, `${Math.ceil((bench.rootfs.length * 3) / 2 / 1024)}k`);
    const config = { engines: { runc: { driver: "runc", root, cgroup_parent: dockerd.cgroup } } };
    const nap = await startNap(directory, config, dockerd.initPid);
    try {
      for (const archive of [Buffer.concat([bench.rootfs, bench.rootfs]), bench.rootfs]) {
        const messages = importMessages("runc", { reference: "full:1" }, archive);
        const error = await failure(resultOf(nap.images.importImage(messages)));
        expect(error).to.include({ code: Code.RESOURCE_EXHAUSTED, reason: "ENGINE_DISK_FULL" });
      }
    } finally {
      await nap.stop();
    }
  });

  it("tells the words of a program that fails for a cause without a reason of its own", async () => {
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "broken-"));
    const root = join(directory, "root");
    mkdirSync(root);
    const config = { engines: { runc: { driver: "runc", root, cgroup_parent: dockerd.cgroup } } };
    const nap = await startNap(directory, config, dockerd.initPid);
    try {
      const messages = [...importMessages("runc", { reference: "broken:1" }, bench.rootfs)];
      await resultOf(nap.images.importImage(messages));
      writeFileSync(join(root, "images", "oci-layout"), "no JSON");
      const error = await failure(resultOf(nap.images.importImage(messages)));
      expect(error).to.include({ code: Code.INTERNAL, reason: "ENGINE_ERROR" });
      expect(error.info?.metadata["engine_message"]).to.include("oci-layout");
    } finally {
      await nap.stop();
    }
  });

  it("pulls no image, and says that it has to be imported", async () => {
    const { nap, bench } = open();
    const spec = { source: imageSource("no-such-image:1"), command: { arguments: ["true"] } };
    for (const pullPolicy of [PullPolicy.UNSPECIFIED, PullPolicy.IF_NOT_PRESENT]) {
      const request = { engine: "runc", spec, pullPolicy };
      const error = await failure(nap.containers.createContainer(request));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
      expect(error.message).to.include("import or load it");
    }
    const present = { source: imageSource(bench.image), command: { arguments: ["true"] } };
    const pullPolicy = PullPolicy.ALWAYS;
    const error = await failure(
      nap.containers.createContainer({ engine: "runc", spec: present, pullPolicy }),
    );
    expect(error).to.include({ reason: "FIELD_UNSUPPORTED" });
    expect(error.fields).to.deep.equal(["pull_policy"]);
  });

  it("puts a container into namespaces by their files, and leaves their host name alone", async () => {
    const { nap, bench } = open();
    const isolated = { mode: { case: "isolated" as const, value: {} } };
    const { id, pid } = await bench.start({ hostname: "first", namespaces: { cgroup: isolated } });
    for (const kind of ["pid", "ipc", "uts", "cgroup", "network"] as const) {
      const file = kind === "network" ? "net" : kind;
      const theirs = await bench.exec(id, `readlink /proc/self/ns/${file}`);
      const at = (value: string) => ({
        hostname: "second",
        namespaces: { [kind]: { mode: { case: "path" as const, value } } },
      });
      const { stdout } = await bench.run(
        at(`/proc/${pid}/ns/${file}`),
        `readlink /proc/self/ns/${file}`,
      );
      expect(stdout.trim(), kind).to.equal(theirs);
      for (const path of ["/proc/0/ns/none", "/etc/passwd"]) {
        const { id: container } = await bench.create(at(path));
        const error = await failure(nap.containers.startContainer({ engine: "runc", container }));
        expect(error.reason, `${kind} ${path}`).to.equal("CONTAINER_START_FAILED");
      }
    }
    expect(await bench.exec(id, "hostname")).to.equal("first");
    await bench.tidy();
  });

  it("keeps the image under a reference where another import to it fails", async () => {
    const { nap, bench } = open();
    const reference = `${bench.name("nap-kept")}:1`;
    await resultOf(nap.images.importImage(importMessages("runc", { reference }, bench.rootfs)));
    bench.cleanUp(() => nap.images.removeImage({ engine: "runc", image: reference, force: true }));
    const cut = bench.rootfs.subarray(0, 1_000_000);
    const error = await failure(
      resultOf(nap.images.importImage(importMessages("runc", { reference }, cut))),
    );
    expect(error).to.include({ reason: "ARCHIVE_INVALID" });
    const { stdout } = await bench.run(
      { source: imageSource(reference) } as object,
      "cat /data/seed",
    );
    expect(stdout).to.equal("from the image\n");
    const gzipped = gzipSync(bench.rootfs);
    await resultOf(nap.images.importImage(importMessages("runc", { reference }, gzipped)));
    expect(
      (await bench.run({ source: imageSource(reference) } as object, "cat /data/seed")).stdout,
    ).to.equal(stdout);
  });

  it("removes every container that is to be removed, however quickly it ends", async () => {
    const { nap, bench } = open();
    const mark = bench.name("mark");
    const spec = {
      source: imageSource(bench.image),
      command: { arguments: ["true"] },
      autoRemove: true,
    };
    for (let n = 0; n < 10; n++) {
      const request = { engine: "runc", spec: { ...spec, labels: { mark } } };
      const { container } = await nap.containers.createContainer(request);
      await nap.containers.startContainer({ engine: "runc", container: container?.id });
    }
    await eventually(async () => {
      const filter = { labels: [{ key: "mark", value: mark }] };
      const { containers } = await nap.containers.listContainers({ engine: "runc", filter });
      return containers.length === 0 || undefined;
    });
  });

  it("waits out a long grace, and lets a command go on whose call is cancelled", async () => {
    const { nap, bench } = open();
    const script = "trap 'sleep 0.3; exit 5' TERM; echo up; while :; do sleep 0.05; done";
    const { id: container } = await bench.start({}, ["sh", "-c", script]);
    await eventually(async () => {
      const logs = await all(nap.containers.streamContainerLogs({ engine: "runc", container }));
      return logs.length > 1 || undefined;
    });
    const client = new AbortController();
    const exec = { command: ["sh", "-c", "sleep 0.5; touch /went-on"] };
    const request = { engine: "runc", container, exec };
    const call = nap.containers.execContainerSync(request, { signal: client.signal });
    setTimeout(() => client.abort(), 200);
    await failure(call);
    await eventually(async () => {
      const seen = await bench.exec(container, "ls /");
      return seen.includes("went-on") || undefined;
    });
    const timeout = { seconds: 5_000_000n };
    await nap.containers.stopContainer({ engine: "runc", container, timeout });
    expect((await bench.get(container)).exit?.code).to.equal(5);
  });

  it("mounts a bind root, reports it, and refuses one that leads elsewhere by now", async () => {
    const { dockerd, bench: outer } = open();
    const directory = mkdtempSync(join(dockerd.directory, "roots-"));
    const at = (...parts: string[]): string => join(directory, ...parts);
    for (const path of ["store", "mfs/local", "trusted/local/deep", "secret"]) {
      mkdirSync(at(path), { recursive: true });
    }
    const config = {
      engines: { runc: { driver: "runc", root: at("store"), cgroup_parent: dockerd.cgroup } },
      bind_roots: {
        mfs: { path: at("mfs", "{identity}") },
        trusted: { path: at("trusted", "{identity}"), trusted_content: true },
      },
    };
    const nap = await startNap(directory, config, dockerd.initPid);
    const image = "roots:1";
    const bench = new NewBench(nap, "runc", image, outer.rootfs, directory);
    const mount = (root: string, path: string) => {
      const value = { origin: { case: "bindRoot" as const, value: { root, path } } };
      return { target: "/mounted", source: { case: "bind" as const, value } };
    };
    try {
      await resultOf(
        nap.images.importImage(importMessages("runc", { reference: image }, outer.rootfs)),
      );
      const { id, spec } = await bench.start({ mounts: [mount("mfs", "")] });
      await bench.exec(id, "echo here > /mounted/written");
      expect(readFileSync(at("mfs", "local", "written"), "utf8")).to.equal("here\n");
      const source = spec?.mounts[0]?.source;
      const origin = source?.case === "bind" ? source.value.origin : undefined;
      expect(origin?.value).to.include({ root: "mfs", path: "" });
      for (const [root, path, field] of [
        ["mfs", "below", "path"],
        ["trusted", "deep/../..", "path"],
        ["other", "", "root"],
      ] as const) {
        const error = await failure(bench.create({ mounts: [mount(root, path)] }));
        expect(error).to.include({ reason: "FIELD_INVALID" });
        expect(error.fields).to.deep.equal([`spec.mounts[0].bind.bind_root.${field}`]);
      }
      const { id: container } = await bench.create({ mounts: [mount("trusted", "deep")] });
      rmSync(at("trusted", "local", "deep"), { recursive: true });
      const missing = await failure(nap.containers.startContainer({ container }));
      expect(missing).to.include({ reason: "BIND_SOURCE_NOT_FOUND" });
      symlinkSync(at("secret"), at("trusted", "local", "deep"));
      const swapped = await failure(nap.containers.startContainer({ container }));
      expect(swapped).to.include({ reason: "CONTAINER_START_FAILED" });
      expect(swapped.message).to.include("symbolic link");
    } finally {
      await bench.tidy();
      await nap.stop();
    }
  });

  it("finds its containers, their output and their exits again after nap was killed", async () => {
    const { dockerd, bench: first } = open();
    const directory = mkdtempSync(join(dockerd.directory, "again-"));
    const root = join(directory, "root");
    mkdirSync(root);
    const config = { engines: { runc: { driver: "runc", root, cgroup_parent: dockerd.cgroup } } };
    const before = await startNap(directory, config, dockerd.initPid);
    const image = "again:1";
    await resultOf(
      before.images.importImage(importMessages("runc", { reference: image }, first.rootfs)),
    );
    const made = new NewBench(before, "runc", image, first.rootfs, directory);
    const script = (end: string): string[] => [
      "sh",
      "-c",
      `echo first; sleep 1; echo second; ${end}`,
    ];
    const short = await made.start({}, script("exit 9"));
    const long = await made.start({}, script("sleep 60"));
    const gone = await made.start({ autoRemove: true }, script("exit 1"));
    process.kill(before.pid, "SIGKILL");
    await before.stop();
    await new Promise((resolve) => setTimeout(resolve, 1500));

    const after = await startNap(directory, config, dockerd.initPid);
    const bench = new NewBench(after, "runc", image, first.rootfs, directory);
    try {
      const ended = await bench.get(short.name);
      expect(ended.state).to.equal(ContainerState.EXITED);
      expect(ended.exit?.code).to.equal(9);
      const running = await bench.get(long.id);
      expect(running.state).to.equal(ContainerState.RUNNING);
      expect(running.pid).to.equal(long.pid);
      expect(await bench.exec(long.id, "echo alive")).to.equal("alive");
      for (const { id } of [short, long]) {
        const logs = await all(after.containers.streamContainerLogs({ container: id }));
        const text = logs.flatMap(({ event }) =>
          event.case === "batch" ? event.value.entries.map(({ data }) => Buffer.from(data)) : [],
        );
        expect(Buffer.concat(text).toString()).to.equal("first\nsecond\n");
      }
      const { containers } = await after.containers.listContainers({});
      expect(containers.map(({ id }) => id)).not.to.include(gone.id);
      for (const { id } of [short, long]) {
        await after.containers.removeContainer({ container: id, force: true });
      }
    } finally {
      await after.stop();
    }
  });

  it("runs once for one request_id, whenever nap is killed between the calls", async () => {
    const { dockerd, bench } = open();
    const directory = mkdtempSync(join(dockerd.directory, "once-"));
    const root = join(directory, "root");
    mkdirSync(root);
    const config = { engines: { runc: { driver: "runc", root, cgroup_parent: dockerd.cgroup } } };
    const start = () => startNap(directory, config, dockerd.initPid);
    const nap = await start();
    await resultOf(
      nap.images.importImage(importMessages("runc", { reference: bench.image }, bench.rootfs)),
    );
    await nap.stop();
    await runsOnceWhereNapIsKilled(start, bench);
  });

  it("starts by a repeated call a container whose start nap had begun when it was killed", async () => {
    const { dockerd, bench } = open();
    const { engine, image, rootfs, hostDirectory } = bench;
    const directory = mkdtempSync(join(dockerd.directory, "begun-"));
    const root = join(directory, "root");
    mkdirSync(root);
    // A runc that never starts what it has made.
    const [programs, reached] = [join(directory, "programs"), join(directory, "reached")];
    mkdirSync(programs);
    const real = execFileSync("sh", ["-c", "command -v runc"]).toString().trim();
    const script = `case " $* " in *" start "*) touch ${reached}; sleep 2; exit 1;; esac`;
    writeFileSync(join(programs, "runc"), `#!/bin/sh\n${script}\nexec ${real} "$@"\n`);
    chmodSync(join(programs, "runc"), 0o755);
    const config = { engines: { runc: { driver: "runc", root, cgroup_parent: dockerd.cgroup } } };
    const path = process.env["PATH"];
    process.env["PATH"] = `${programs}:${path}`;
    const first = await startNap(directory, config, dockerd.initPid);
    process.env["PATH"] = path;
    await resultOf(first.images.importImage(importMessages(engine, { reference: image }, rootfs)));
    const name = bench.name("begun");
    const { mounts, script: counted } = counting(bench, name, "");
    const spec = {
      source: imageSource(image),
      command: { arguments: ["sh", "-c", counted] },
      mounts,
    };
    const request = { engine, spec, requestId: name };
    const cut = all(first.containers.runContainer(request));
    cut.catch(() => undefined);
    await eventually(() => existsSync(reached) || undefined);
    await first.kill();
    const second = await startNap(directory, config, dockerd.initPid);
    try {
      const calls = [1, 2, 3].map(async () => all(second.containers.runContainer(request)));
      const answers = (await Promise.all(calls)).map(ended);
      for (const { stdout, exit } of answers) {
        expect(stdout).to.match(/^run [0-9a-f-]{36}\n$/);
        expect(readFileSync(join(hostDirectory, name), "utf8")).to.equal(stdout);
        expect(exit?.code).to.equal(3);
      }
      await second.containers.removeContainer({ engine, container: answers[0]?.id });
    } finally {
      await second.stop();
    }
  });
}

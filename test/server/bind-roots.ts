/** Bind mounts that name a root of the configuration, and attempts to get out of it. */
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import Docker from "dockerode";
import type { MountSchema } from "../../gen/nap/v1/container_spec_pb.js";
import { RestartMode } from "../../gen/nap/v1/container_spec_pb.js";
import { Bench, eventually } from "../conformance/bench.js";
import { failure } from "../support/client.js";
import type { TestDockerd } from "../support/engines/dockerd.js";
import type { TestNap } from "../support/engines/nap.js";
import { startNap } from "../support/engines/nap.js";
import { imageSource } from "../support/requests/source.js";

/** What these cases work with. */
interface RootsBench {
  readonly dockerd: TestDockerd;
  readonly bench: Bench;
}

type MountInit = MessageInitShape<typeof MountSchema>;
const target = "/mounted";

function rooted(root: string, path = "", further: object = {}): MountInit {
  const value = { origin: { case: "bindRoot" as const, value: { root, path } }, ...further };
  return { target, source: { case: "bind", value } };
}

/** Declares the cases. `open` gives their bench when the tests run. */
export function bindRootCases(open: () => RootsBench): void {
  let directory: string;
  let nap: TestNap;
  let bench: Bench;
  let docker: Docker;
  const at = (...parts: string[]): string => join(directory, ...parts);
  const start = (container: string) =>
    nap.containers.startContainer({ engine: "docker", container });
  const refusal = (mount: MountInit, engine = "docker") => {
    const spec = {
      source: imageSource(bench.image),
      mounts: [mount],
      command: { arguments: ["true"] },
    };
    return failure(nap.containers.createContainer({ engine, spec }));
  };

  before(async () => {
    const { dockerd, bench: outer } = open();
    directory = mkdtempSync(join(dockerd.directory, "roots-"));
    for (const path of ["mfs/local", "plain/below", "trusted/local/deep", "gone", "linked"]) {
      mkdirSync(at(path), { recursive: true });
    }
    mkdirSync(at("secret"));
    writeFileSync(at("secret", "file"), "secret");
    symlinkSync(at("secret"), at("linked", "local"));
    symlinkSync(at("secret"), at("trusted", "local", "link"));
    symlinkSync(at("nowhere"), at("trusted", "local", "dangling"));
    writeFileSync(at("trusted", "local", "plain"), "a file");
    const { ca, clientCert: cert, clientKey: key } = dockerd.certificates;
    const config = {
      engines: {
        docker: { driver: "docker", url: `unix://${dockerd.socket}` },
        far: { driver: "docker", url: `tcp://${dockerd.tlsAddress}`, tls: { ca, cert, key } },
      },
      default_engine: "docker",
      bind_roots: {
        mfs: { path: at("mfs", "{identity}"), trusted_content: false },
        plain: { path: at("plain") },
        trusted: { path: at("trusted", "{identity}"), trusted_content: true },
        gone: { path: at("gone", "{identity}") },
        away: { path: at("away", "{identity}") },
        linked: { path: at("linked", "{identity}") },
      },
    };
    nap = await startNap(directory, config, dockerd.initPid);
    bench = new Bench(nap, "docker", outer.image, outer.rootfs, directory);
    docker = new Docker({ socketPath: dockerd.socket, host: undefined, port: undefined });
  });
  afterEach(() => bench.tidy());
  after(async () => {
    await nap?.stop();
  });

  it("mounts the identity's own directory, where the data is on the host, and reports both", async () => {
    const { id } = await bench.start({ mounts: [rooted("mfs")] });
    await bench.exec(id, `echo here > ${target}/written`);
    expect(readFileSync(at("mfs", "local", "written"), "utf8")).to.equal("here\n");
    const { spec, mounts } = await bench.get(id);
    expect(spec?.labels).to.deep.equal({});
    const source = spec?.mounts[0]?.source;
    const origin = source?.case === "bind" ? source.value.origin : undefined;
    expect(origin?.case).to.equal("bindRoot");
    expect(origin?.value).to.include({ root: "mfs", path: "" });
    expect(mounts[0]).to.include({ target, hostPath: at("mfs", "local"), readOnly: false });
  });

  it("mounts a root that is the same for all, and a path below one whose content is trusted", async () => {
    const { id } = await bench.start({ mounts: [rooted("plain")] });
    expect(await bench.exec(id, `ls ${target}`)).to.equal("below");
    const deep = await bench.start({ mounts: [rooted("trusted", "deep")] });
    expect(deep.mounts[0]?.hostPath).to.equal(at("trusted", "local", "deep"));
    const file = await bench.start({ mounts: [rooted("trusted", "plain")] });
    expect(await bench.exec(file.id, `cat ${target}`)).to.equal("a file");
  });

  it("mounts a root read-only where it is asked for, and reports that", async () => {
    const { id, mounts } = await bench.start({ mounts: [{ ...rooted("mfs"), readOnly: true }] });
    const error = await bench.exec(id, `touch ${target}/x`).catch((thrown: Error) => thrown);
    expect(String(error)).to.include("Read-only file system");
    expect(mounts[0]?.readOnly).to.equal(true);
    expect((await bench.get(id)).spec?.mounts[0]?.readOnly).to.equal(true);
  });

  for (const [claim, root, path, field, words] of [
    ["a path that leaves its root", "trusted", "deep/../../../secret", "path", /".."/],
    ["a path that is ..", "trusted", "..", "path", /".."/],
    ["an absolute path", "trusted", "/etc", "path", /./],
    ["a path with a NUL", "trusted", "deep\0", "path", /./],
    ["a path with an empty part", "trusted", "deep//x", "path", /empty/],
    ["a path with a part that is .", "trusted", "./deep", "path", /empty or "."/],
    ["a symbolic link", "trusted", "link", "path", /symbolic link/],
    ["a path through a symbolic link", "trusted", "link/file", "path", /symbolic link/],
    ["a symbolic link that leads nowhere", "trusted", "dangling", "path", /symbolic link/],
    ["a path through a file", "trusted", "plain/x", "path", /no directory/],
    ["a root whose identity's directory is a symbolic link", "linked", "", "root", /symbolic link/],
    ["a root that is not configured", "other", "", "root", /no bind root "other"/],
    ["a deeper path where containers may write", "mfs", "below", "path", /trusted_content/],
    ["a deeper path of a root for all", "plain", "below", "path", /trusted_content/],
  ] as const) {
    it(`refuses ${claim} with the field's path`, async () => {
      for (const createHostPath of [false, true]) {
        const error = await refusal(rooted(root, path, { createHostPath }));
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
        expect(error.fields).to.deep.equal([`spec.mounts[0].bind.bind_root.${field}`]);
        expect(error.message).to.match(words);
      }
    });
  }

  it("tells of all rooted mounts at fault at once", async () => {
    const mounts = [rooted("other"), { ...rooted("mfs", "x"), target: "/second" }];
    const spec = { source: imageSource(bench.image), mounts };
    const error = await failure(nap.containers.createContainer({ engine: "docker", spec }));
    expect(error.fields).to.deep.equal([
      "spec.mounts[0].bind.bind_root.root",
      "spec.mounts[1].bind.bind_root.path",
    ]);
  });

  it("says that a source is not there, and makes it only where it is asked to", async () => {
    for (const mount of [rooted("gone"), rooted("trusted", "no/such"), rooted("away")]) {
      const error = await refusal(mount);
      expect(error).to.include({
        code: Code.FAILED_PRECONDITION,
        reason: "BIND_SOURCE_NOT_FOUND",
      });
    }
    const createHostPath = true;
    const made = await bench.start({ mounts: [rooted("gone", "", { createHostPath })] });
    expect(statSync(at("gone", "local")).isDirectory()).to.equal(true);
    const source = made.spec?.mounts[0]?.source;
    expect(source?.case === "bind" && source.value.createHostPath).to.equal(true);
    const deep = rooted("trusted", "new/one:two", { createHostPath });
    await bench.start({ mounts: [deep] });
    expect(statSync(at("trusted", "local", "new", "one:two")).isDirectory()).to.equal(true);
    // What stands before the identity may be a file system that is not mounted, and is never made.
    const error = await refusal(rooted("away", "", { createHostPath }));
    expect(error.reason).to.equal("BIND_SOURCE_NOT_FOUND");
    expect(() => statSync(at("away"))).to.throw("ENOENT");
  });

  it("makes no directory through a symbolic link", async () => {
    const error = await refusal(rooted("trusted", "link/made", { createHostPath: true }));
    expect(error.fields).to.deep.equal(["spec.mounts[0].bind.bind_root.path"]);
    expect(() => statSync(at("secret", "made"))).to.throw("ENOENT");
  });

  for (const verb of ["start", "restart"] as const) {
    it(`refuses to ${verb} a container whose source was swapped for a symbolic link`, async () => {
      const name = `swapped-${verb}`;
      mkdirSync(at("trusted", "local", name));
      const command = ["sh", "-c", `cat ${target}/file; sleep 60`];
      const { id } = await bench.start({ mounts: [rooted("trusted", name)] }, command);
      const stop = { engine: "docker", container: id, timeout: { seconds: 0n } };
      if (verb === "start") await nap.containers.stopContainer(stop);
      renameSync(at("trusted", "local", name), at("trusted", "local", `${name}-away`));
      symlinkSync(at("secret"), at("trusted", "local", name));
      const restart = nap.containers.restartContainer;
      const error = await failure(verb === "start" ? start(id) : restart(stop));
      expect(error).to.include({
        code: Code.FAILED_PRECONDITION,
        reason: "CONTAINER_START_FAILED",
      });
      expect(error.message).to.include("symbolic link").and.to.include(target);
      // A refused restart has not stopped it, and a start of what runs starts nothing.
      if (verb === "restart") expect((await start(id)).changed).to.equal(false);
      rmSync(at("trusted", "local", name));
      const missing = await failure(verb === "start" ? start(id) : restart(stop));
      expect(missing.reason).to.equal("BIND_SOURCE_NOT_FOUND");
      renameSync(at("trusted", "local", `${name}-away`), at("trusted", "local", name));
      if (verb === "start") expect((await start(id)).changed).to.equal(true);
      else await restart(stop);
      const logs = await docker.getContainer(id).logs({ stdout: true, stderr: true });
      expect(logs.toString()).not.to.include("secret");
    });
  }

  it("mounts the same directory when the engine restarts a container that tried to swap it", async () => {
    const script = [
      `echo start >> ${target}/starts`,
      `rm -rf ${target}/. ${target} 2>/dev/null`,
      `mv ${target} /moved 2>/dev/null`,
      `echo start >> ${target}/starts`,
      `ln -s ${at("secret")} ${target} 2>/dev/null`,
      `ln -s ${at("secret")} ${target}/.. 2>/dev/null`,
      `cat ${target}/file`,
      "exit 1",
    ].join("; ");
    const restartPolicy = { mode: RestartMode.ON_FAILURE, maximumRetryCount: 2 };
    const mounts = [rooted("mfs")];
    const { id } = await bench.start({ mounts, restartPolicy }, ["sh", "-c", script]);
    await eventually(async () => {
      const { restartCount, exit } = await bench.get(id);
      return (restartCount === 2 && exit !== undefined) || undefined;
    });
    const logs = await docker.getContainer(id).logs({ stdout: true, stderr: true });
    expect(logs.toString()).not.to.include("secret");
    const { Mounts } = await docker.getContainer(id).inspect();
    expect(Mounts.map(({ Source }) => Source)).to.deep.equal([at("mfs", "local")]);
    expect(statSync(at("mfs", "local")).isDirectory()).to.equal(true);
    expect(readFileSync(at("secret", "file"), "utf8")).to.equal("secret");
  });

  it("refuses a rooted mount on an engine that it reaches by TCP, and declares it", async () => {
    const error = await refusal(rooted("mfs"), "far");
    expect(error).to.include({
      code: Code.INVALID_ARGUMENT,
      reason: "FIELD_UNSUPPORTED",
    });
    expect(error.fields).to.deep.equal(["spec.mounts[0].bind.bind_root"]);
    for (const [engine, refused] of [
      ["far", true],
      ["docker", false],
    ] as const) {
      const { unsupportedFields } = await nap.engines.getEngineCapabilities({ engine });
      const names = unsupportedFields.map(({ field }) => field);
      expect(names.includes("nap.v1.BindMount.bind_root"), engine).to.equal(refused);
    }
  });

  it("starts no container with a rooted mount over TCP, where it cannot look at the source", async () => {
    const { id: container } = await bench.create({ mounts: [rooted("mfs")] });
    const request = { engine: "far", container };
    for (const verb of ["startContainer", "restartContainer"] as const) {
      const error = await failure(nap.containers[verb](request));
      expect(error).to.include({ reason: "CONTAINER_START_FAILED" });
      expect(error.message).to.include("another host");
    }
    expect((await start(container)).changed).to.equal(true);
  });

  it("takes no path of the host for a volume's name", async () => {
    for (const volume of ["/etc", "../etc", "etc/.."]) {
      const error = await refusal({ target, source: { case: "volume", value: { volume } } });
      expect(error, volume).to.include({ code: Code.INVALID_ARGUMENT });
    }
  });

  it("does not believe a label of an image that a host path is a root's", async () => {
    const hostPath = at("secret");
    const entry = { target, root: "mfs", path: "", hostPath };
    const forged = JSON.stringify({ identity: "local", mounts: [entry] });
    const { id: base } = await bench.create({});
    const repo = bench.name("forged");
    const changes = `LABEL nap.v1.bind-roots=${JSON.stringify(forged)}`;
    await docker.getContainer(base).commit({ repo, changes });
    bench.cleanUp(() => docker.getImage(repo).remove({ force: true }));
    const labels = (await docker.getImage(repo).inspect()).Config.Labels;
    expect(labels["nap.v1.bind-roots"]).to.equal(forged);
    const bind = { origin: { case: "hostPath" as const, value: hostPath } };
    const mounts = [{ target, source: { case: "bind" as const, value: bind } }];
    const { id } = await bench.start({ source: imageSource(repo), mounts } as object);
    const source = (await bench.get(id)).spec?.mounts[0]?.source;
    const origin = source?.case === "bind" ? source.value.origin : undefined;
    expect(origin).to.deep.equal(bind.origin);
    const named = await failure(
      bench.create({ labels: { "nap.v1.bind-roots": forged }, mounts: [rooted("mfs")] }),
    );
    expect(named).to.include({ reason: "FIELD_INVALID" });
  });
}

/** What is mounted: volumes, directories of the host, memory, and what others have mounted. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { MountPropagation } from "../../../gen/nap/v1/container_spec_pb.js";
import type { Bench, SpecInit } from "../bench.js";
import { eventually, failure } from "../bench.js";
import type { OptionTest } from "./option.js";
import { MiB } from "./option.js";
import { imageSource } from "../../support/requests/source.js";

type Mounts = NonNullable<SpecInit["mounts"]>;

/** A directory of the host, with a file in it, that is mounted at /b. */
function directoryOf(bench: Bench): string {
  const directory = join(bench.hostDirectory, bench.name("bind"));
  mkdirSync(directory);
  writeFileSync(join(directory, "file"), "from the host\n");
  return directory;
}

const bindOf = (path: string, more: object = {}) => ({
  case: "bind" as const,
  value: { origin: { case: "hostPath" as const, value: path }, ...more },
});
const volumeOf = (volume?: string) => ({
  case: "volume" as const,
  value: volume === undefined ? {} : { volume },
});

/** Mounts on the host below a directory that is bound, and says whether a container sees it. */
async function seesMountsOfTheHost(bench: Bench, propagation: MountPropagation): Promise<boolean> {
  const directory = directoryOf(bench);
  const script = 'mkdir "$1/sub" && mount --bind "$1" "$1" && mount --make-shared "$1"';
  await bench.onHost(script, directory);
  bench.cleanUp(() => bench.onHost('umount "$1/sub"; umount "$1"', directory));
  const { id } = await bench.start({
    mounts: [{ target: "/b", source: bindOf(directory, { propagation }) }],
  });
  await bench.onHost('mount -t tmpfs tmpfs "$1/sub"', directory);
  return (await bench.exec(id, "grep -c ' /b/sub ' /proc/mounts || true")) === "1";
}

export function storageOptions(option: OptionTest): void {
  option(
    "option.volumes.anonymous-is-filled",
    "volumes",
    "an anonymous volume, filled with what the image has there",
    {
      spec: { mounts: [{ target: "/data", source: volumeOf() }] },
      script: "cat /data/seed; grep -c ' /data ' /proc/mounts",
      shows: "from the image\n1",
    },
  );

  option(
    "option.volumes.anonymous-outlives-its-container",
    "volumes",
    "an anonymous volume outlives its container, if it is told to",
    async (bench) => {
      const { nap, engine } = bench;
      const mounts: Mounts = [{ target: "/v", source: volumeOf() }];
      const { id: container } = await bench.run({ mounts }, "echo kept >/v/file");
      const volume = (await bench.get(container)).mounts[0]?.volume ?? "";
      bench.cleanUp(() => nap.volumes.removeVolume({ engine, volume }));
      await nap.containers.removeContainer({ engine, container });
      const again: Mounts = [{ target: "/v", source: volumeOf(volume) }];
      const { stdout } = await bench.run({ mounts: again }, "cat /v/file");
      expect(stdout).to.equal("kept\n");
      return stdout;
    },
  );

  option(
    "option.volumes.anonymous-goes-with-its-container",
    "volumes",
    "an anonymous volume goes with its container, if it is told to",
    async (bench) => {
      const { nap, engine } = bench;
      const { id: container, mounts } = await bench.create({
        mounts: [{ target: "/v", source: volumeOf() }],
      });
      const volume = mounts[0]?.volume ?? "";
      await nap.volumes.getVolume({ engine, volume });
      await nap.containers.removeContainer({ engine, container, removeVolumes: true });
      const error = await failure(nap.volumes.getVolume({ engine, volume }));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "VOLUME_NOT_FOUND" });
      return error.reason;
    },
  );

  option(
    "option.volumes.named-keeps-its-data",
    "volumes",
    "a named volume is made, and keeps its data when the container is gone",
    async (bench) => {
      const { nap, engine } = bench;
      const volume = bench.name("volume");
      bench.cleanUp(() => nap.volumes.removeVolume({ engine, volume }));
      const mounts: Mounts = [{ target: "/v", source: volumeOf(volume) }];
      const { id: container } = await bench.run({ mounts }, "echo kept >/v/file");
      await nap.containers.removeContainer({ engine, container, removeVolumes: true });
      const found = await nap.volumes.getVolume({ engine, volume });
      const path = join(found.volume?.hostPath ?? "", "file");
      expect(await bench.onHost('cat "$1"', path)).to.equal("kept");
      return "kept, on the host";
    },
  );

  option("option.volumes.read-only", "volumes", "read-only", async (bench) => {
    const volume = await bench.volume();
    const mounts: Mounts = [{ target: "/v", readOnly: true, source: volumeOf(volume) }];
    const { stderr } = await bench.run({ mounts }, "touch /v/x");
    expect(stderr).to.include("Read-only file system");
    return stderr;
  });

  option(
    "option.volumes.made-with-options-and-labels",
    "volumes",
    "made with a driver's options and labels, where it is mounted",
    async (bench) => {
      const { nap, engine } = bench;
      const volume = bench.name("volume");
      bench.cleanUp(() => nap.volumes.removeVolume({ engine, volume }));
      const createSpec = {
        driver: "local",
        driverOptions: { type: "tmpfs", device: "tmpfs", o: "size=1m" },
        labels: { a: "b" },
      };
      const source = { case: "volume" as const, value: { volume, createSpec } };
      const mounts: Mounts = [{ target: "/v", source }];
      const { stdout } = await bench.run({ mounts }, "df -k /v | awk 'NR==2 {print $2}'");
      expect(stdout).to.equal("1024\n");
      const found = await nap.volumes.getVolume({ engine, volume });
      expect(found.volume?.spec?.labels).to.deep.equal({ a: "b" });
      return `${stdout.trim()} KiB`;
    },
  );

  option("option.binds.read-write", "binds", "read-write", async (bench) => {
    const directory = directoryOf(bench);
    const mounts: Mounts = [{ target: "/b", source: bindOf(directory) }];
    const { stdout } = await bench.run({ mounts }, "cat /b/file; echo x >/b/new");
    expect(stdout).to.equal("from the host\n");
    expect(readFileSync(join(directory, "new"), "utf8")).to.equal("x\n");
    return "written on the host";
  });

  option("option.binds.read-only", "binds", "read-only", async (bench) => {
    const mounts: Mounts = [{ target: "/b", readOnly: true, source: bindOf(directoryOf(bench)) }];
    const { stdout, stderr } = await bench.run({ mounts }, "cat /b/file; touch /b/no");
    expect(stdout).to.equal("from the host\n");
    expect(stderr).to.include("Read-only");
    return stderr;
  });

  option("option.binds.single-file", "binds", "a single file", async (bench) => {
    const mounts: Mounts = [
      { target: "/etc/one", source: bindOf(join(directoryOf(bench), "file")) },
    ];
    const { stdout } = await bench.run({ mounts }, "cat /etc/one");
    expect(stdout).to.equal("from the host\n");
    return stdout;
  });

  option(
    "option.binds.missing-source-is-made-if-asked",
    "binds",
    "a source that is missing is made, if asked",
    async (bench) => {
      const made = join(directoryOf(bench), "made");
      const source = bindOf(made, { createHostPath: true });
      await bench.run({ mounts: [{ target: "/b", source }] }, "echo y >/b/file");
      expect(readFileSync(join(made, "file"), "utf8")).to.equal("y\n");
      return "made on the host";
    },
  );

  option(
    "option.binds.missing-source-is-refused",
    "binds",
    "a source that is missing is refused",
    async (bench) => {
      const { nap, engine, image } = bench;
      const source = bindOf(join(directoryOf(bench), "missing"));
      const command = { arguments: ["true"] };
      const spec = { source: imageSource(image), command, mounts: [{ target: "/b", source }] };
      const error = await failure(nap.containers.createContainer({ engine, spec }));
      expect(error).to.include({
        code: Code.FAILED_PRECONDITION,
        reason: "BIND_SOURCE_NOT_FOUND",
      });
      return error.reason;
    },
  );

  option(
    "option.binds.two-at-one-target-are-refused",
    "binds",
    "two at one target are refused",
    async (bench) => {
      const { nap, engine, image } = bench;
      const mounts = [
        { target: "/t", source: { case: "tmpfs" as const, value: {} } },
        { target: "/./t/", source: bindOf("/tmp") },
      ];
      const spec = { source: imageSource(image), command: { arguments: ["true"] }, mounts };
      const error = await failure(nap.containers.createContainer({ engine, spec }));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(error.fields).to.deep.equal(["spec.mounts[1].target"]);
      return error.reason;
    },
  );

  option(
    "option.binds.non-recursive",
    "binds",
    "mounts below the source are left out (non_recursive)",
    async (bench) => {
      const directory = directoryOf(bench);
      await bench.onHost('mkdir "$1/sub" && mount -t tmpfs tmpfs "$1/sub"', directory);
      bench.cleanUp(() => bench.onHost('umount "$1/sub"', directory));
      const count = "grep -c ' /b/sub ' /proc/mounts";
      const whole = await bench.run(
        { mounts: [{ target: "/b", source: bindOf(directory) }] },
        count,
      );
      expect(whole.stdout).to.equal("1\n");
      const source = bindOf(directory, { nonRecursive: true });
      const alone = await bench.run({ mounts: [{ target: "/b", source }] }, count);
      expect(alone.stdout).to.equal("0\n");
      return "1 mount, and none";
    },
  );

  option(
    "option.binds.recursive-read-only",
    "binds",
    "read-only below other mounts too, or refused",
    async (bench) => {
      const source = bindOf(directoryOf(bench), { recursiveReadOnly: 2 });
      const { stdout } = await bench.run(
        { mounts: [{ target: "/b", readOnly: true, source }] },
        "cat /b/file",
      );
      return stdout;
    },
  );

  option("option.binds.selinux-relabel", "binds", "labelled for SELinux", async (bench) => {
    const source = bindOf(directoryOf(bench), { selinuxRelabel: 1 });
    const { stdout } = await bench.run({ mounts: [{ target: "/b", source }] }, "ls -Zd /b");
    expect(stdout).to.include("container_file_t");
    return stdout;
  });

  option(
    "option.mount-propagation.rslave",
    "mount propagation",
    "rslave: mounts of the host are seen",
    async (bench) => {
      expect(await seesMountsOfTheHost(bench, MountPropagation.RSLAVE)).to.equal(true);
      return "seen";
    },
  );

  option(
    "option.mount-propagation.rshared",
    "mount propagation",
    "rshared: mounts of the host are seen",
    async (bench) => {
      expect(await seesMountsOfTheHost(bench, MountPropagation.RSHARED)).to.equal(true);
      return "seen";
    },
  );

  option(
    "option.mount-propagation.rprivate",
    "mount propagation",
    "rprivate: mounts of the host are not seen",
    async (bench) => {
      expect(await seesMountsOfTheHost(bench, MountPropagation.RPRIVATE)).to.equal(false);
      return "not seen";
    },
  );

  option(
    "option.volumes-from.one-read-only-if-asked",
    "volumes_from",
    "the same files, read-only if asked",
    async (bench) => {
      const mounts: Mounts = [{ target: "/v", source: volumeOf() }];
      const script = ["sh", "-c", "echo s >/v/f; sleep 60"];
      const { id: container } = await bench.start({ mounts }, script);
      await eventually(async () => (await bench.exec(container, "ls /v")) === "f" || undefined);
      const spec = { volumesFrom: [{ container, readOnly: true }] };
      const { stdout, stderr } = await bench.run(spec, "cat /v/f; touch /v/x");
      expect(stdout).to.equal("s\n");
      expect(stderr).to.include("Read-only");
      return stderr;
    },
  );

  option(
    "option.volumes-from.several-by-id-and-name",
    "volumes_from",
    "several, by id and by name, one of them read-write",
    async (bench) => {
      const one = await bench.start({ mounts: [{ target: "/one", source: volumeOf() }] });
      const two = await bench.start({ mounts: [{ target: "/two", source: volumeOf() }] });
      const volumesFrom = [
        { container: one.id, readOnly: false },
        { container: two.name, readOnly: true },
      ];
      const { stderr } = await bench.run({ volumesFrom }, "echo new >/one/f; touch /two/x");
      expect(stderr).to.match(/^touch: \/two\/x: Read-only/);
      expect(await bench.exec(one.id, "cat /one/f")).to.equal("new");
      return "written in one, refused in the other";
    },
  );

  option("option.tmpfs.size-and-permissions", "tmpfs", "size and permissions", {
    spec: {
      mounts: [
        {
          target: "/t",
          source: { case: "tmpfs", value: { sizeBytes: 4n * MiB, permissions: 0o700 } },
        },
      ],
    },
    script: "df -k /t | awk 'NR==2 {print $2}'; stat -c %a /t",
    shows: "4096\n700",
  });

  option("option.tmpfs.nothing-above-its-size", "tmpfs", "what is above its size is refused", {
    spec: { mounts: [{ target: "/t", source: { case: "tmpfs", value: { sizeBytes: MiB } } }] },
    script:
      "head -c 2000000 /dev/zero 2>&1 >/t/x | cat; dd if=/dev/zero of=/t/y bs=1M count=2 2>&1",
    shows: /No space left/,
  });

  option("option.tmpfs.further-options", "tmpfs", "further options, read-only", {
    spec: {
      mounts: [
        {
          target: "/t",
          readOnly: true,
          source: { case: "tmpfs", value: { sizeBytes: MiB, options: ["noexec"] } },
        },
      ],
    },
    script: "grep ' /t ' /proc/mounts",
    shows: /ro,[^ ]*noexec.*size=1024k/,
  });

  option(
    "option.tmpfs.zero-permissions-are-set",
    "tmpfs",
    "permissions of zero are not taken for unset",
    {
      spec: { mounts: [{ target: "/t", source: { case: "tmpfs", value: { permissions: 0 } } }] },
      script: "stat -c %a /t",
      shows: "0",
    },
  );

  option(
    "option.nocopy.volume-is-not-filled",
    "nocopy and subpath",
    "a volume that is not filled",
    {
      spec: {
        mounts: [
          { target: "/data", source: { case: "volume", value: { copyImageContent: false } } },
        ],
      },
      script: "ls -A /data | wc -l",
      shows: "0",
    },
  );

  option(
    "option.subpath.directory-of-a-volume",
    "nocopy and subpath",
    "a directory of a volume",
    async (bench) => {
      const { nap, engine } = bench;
      const volume = bench.name("volume");
      bench.cleanUp(() => nap.volumes.removeVolume({ engine, volume }));
      const script = "mkdir /v/sub && echo below >/v/sub/file";
      await bench.run({ mounts: [{ target: "/v", source: volumeOf(volume) }] }, script);
      const source = { case: "volume" as const, value: { volume, subpath: "sub" } };
      const { stdout } = await bench.run({ mounts: [{ target: "/s", source }] }, "cat /s/file");
      expect(stdout).to.equal("below\n");
      return stdout;
    },
  );

  option(
    "option.subpath.file-system-of-an-image",
    "nocopy and subpath",
    "the file system of an image",
    async (bench) => {
      const source = { case: "image" as const, value: { image: bench.image } };
      const { stdout } = await bench.run(
        { mounts: [{ target: "/i", source }] },
        "cat /i/data/seed",
      );
      expect(stdout).to.equal("from the image\n");
      return stdout;
    },
  );

  option("option.storage-opt.size-of-the-root", "storage_opt", "the size of the root file system", {
    spec: { storageOptions: { size: "1g" } },
    script: "df -k / | awk 'NR==2 {print $2}'",
    shows: "1048576",
  });
}

/** The first process: its image, its arguments, its surroundings and its input. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { PullPolicy } from "../../../gen/nap/v1/container_service_pb.js";
import type { Bench } from "../bench.js";
import { ended, failure } from "../bench.js";
import { all } from "../../support/client.js";
import type { OptionTest } from "./option.js";
import { imported } from "./option.js";
import { imageSource } from "../../support/requests/source.js";

const showStdin = "readlink /proc/self/fd/0";

export function processOptions(option: OptionTest): void {
  option(
    "option.image.by-name-tag-and-id",
    "image",
    "by name and tag, and by id",
    async (bench) => {
      const { nap, engine } = bench;
      const found = await nap.images.getImage({ engine, image: bench.image });
      const id = found.image?.id ?? "";
      for (const image of [bench.image, id]) {
        const ran = await bench.run({ source: imageSource(image) } as object, "cat /data/seed");
        expect(ran.stdout).to.equal("from the image\n");
        expect((await bench.get(ran.id)).imageId).to.equal(id);
      }
      return `runs ${id.slice(0, 19)}`;
    },
  );

  option("option.image.by-digest", "image", "by digest, from a registry", async (bench) => {
    const { nap, engine } = bench;
    const image = await published(bench);
    const spec = { source: imageSource(image), command: { arguments: ["true"] } };
    const pullPolicy = PullPolicy.ALWAYS;
    const { container } = await nap.containers.createContainer({ engine, spec, pullPolicy });
    bench.forget(container?.id ?? "");
    const [digest = ""] = (await nap.images.getImage({ engine, image })).image?.digests ?? [];
    expect(digest).to.match(/@sha256:[0-9a-f]{64}$/);
    const { stdout } = await bench.run({ source: imageSource(digest) } as object, "cat /data/seed");
    expect(stdout).to.equal("from the image\n");
    return `runs ${digest.slice(digest.indexOf("@"), digest.indexOf("@") + 20)}`;
  });

  option(
    "option.pull-policy.never-and-always",
    "pull_policy",
    "never, and always",
    async (bench) => {
      const { nap, engine } = bench;
      const image = await published(bench);
      const spec = {
        source: imageSource(image),
        command: { arguments: ["cat", "/data/seed"] },
        autoRemove: true,
      };
      const never = { engine, spec, pullPolicy: PullPolicy.NEVER };
      const error = await failure(all(nap.containers.runContainer(never)));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
      const always = { engine, spec, pullPolicy: PullPolicy.ALWAYS };
      const { stdout } = ended(await all(nap.containers.runContainer(always)));
      expect(stdout).to.equal("from the image\n");
      return `${error.reason}, then it runs`;
    },
  );

  option(
    "option.platform.own-and-foreign",
    "platform",
    "the engine's own, and one that the image is not for",
    async (bench) => {
      const { nap, engine, image } = bench;
      const own = (await nap.images.getImage({ engine, image })).image?.platform;
      const platform = { os: own?.os ?? "", architecture: own?.architecture ?? "" };
      const { stdout } = await bench.run({ platform }, "uname -s");
      expect(stdout).to.equal("Linux\n");
      const spec = { source: imageSource(image), platform: { os: "linux", architecture: "s390x" } };
      const error = await failure(nap.containers.createContainer({ engine, spec }));
      expect(error).to.include({ code: Code.NOT_FOUND, reason: "IMAGE_NOT_FOUND" });
      return `${platform.os}/${platform.architecture} runs, s390x is not found`;
    },
  );

  option(
    "option.command.arguments-come-unchanged",
    "command",
    "arguments come as they are, after the entrypoint",
    async (bench) => {
      const odd = ["a b", "", "$HOME", "*"];
      const entrypoint = { arguments: ["sh", "-c", 'for a; do echo "[$a]"; done', "sh"] };
      const spec = { entrypoint, command: { arguments: odd } };
      const { stdout } = await bench.run(spec, "");
      expect(stdout).to.equal("[a b]\n[]\n[$HOME]\n[*]\n");
      return stdout;
    },
  );

  option(
    "option.entrypoint.empty-resets-that-of-the-image",
    "entrypoint",
    "an empty one resets the image's",
    async (bench) => {
      const image = await imported(bench, ['ENTRYPOINT ["echo", "from the entrypoint"]']);
      const kept = await bench.run({ source: imageSource(image) } as object, "echo x");
      expect(kept.stdout).to.equal("from the entrypoint sh -c echo x\n");
      const spec = { source: imageSource(image), entrypoint: { arguments: [] } } as object;
      const { stdout } = await bench.run(spec, "echo no entrypoint");
      expect(stdout).to.equal("no entrypoint\n");
      return stdout;
    },
  );

  option(
    "option.name.finds-the-container-and-is-unique",
    "name",
    "finds the container, and is refused a second time",
    async (bench) => {
      const { nap, engine, image } = bench;
      const { id, name } = await bench.create({});
      expect((await bench.get(name)).id).to.equal(id);
      const spec = { source: imageSource(image), command: { arguments: ["true"] } };
      const error = await failure(nap.containers.createContainer({ engine, name, spec }));
      expect(error).to.include({ code: Code.ALREADY_EXISTS, reason: "NAME_IN_USE" });
      return error.reason;
    },
  );

  option("option.hostname.is-set", "hostname", "a name", {
    spec: { hostname: "host-1" },
    script: "hostname",
    shows: "host-1",
  });

  option("option.hostname.is-in-etc-hosts", "hostname", "a name, in /etc/hosts", {
    spec: { hostname: "host-1", domainname: "example.test" },
    script: "grep -E -o 'host-1.example.test\\s+host-1' /etc/hosts | tr -s '\\t' ' '",
    shows: "host-1.example.test host-1",
  });

  option("option.domainname.is-set", "domainname", "a name", {
    spec: { domainname: "example.test" },
    script: "cat /proc/sys/kernel/domainname",
    shows: "example.test",
  });

  option(
    "option.environment.odd-values-come-unchanged",
    "environment",
    "values with spaces, signs and nothing",
    {
      spec: { environment: { A: "1 2", B: "x=y", C: "" } },
      script: 'echo "$A|$B|${C-unset}"',
      shows: "1 2|x=y|",
    },
  );

  option(
    "option.environment.unset-everywhere",
    "environment",
    "a variable of every container is unset",
    {
      spec: { unsetEnvironment: ["HOSTNAME"] },
      script: "env | grep -c ^HOSTNAME= || true",
      shows: "0",
    },
  );

  option(
    "option.environment.unset-of-the-image",
    "environment",
    "a variable of the image is unset, for commands too, and shown as such",
    async (bench) => {
      const image = await imported(bench, ["ENV FROM_IMAGE=1", "ENV KEPT=2"]);
      const spec = { source: imageSource(image), unsetEnvironment: ["FROM_IMAGE"] } as object;
      const script = 'echo "${FROM_IMAGE-unset}|${KEPT-unset}"';
      const { stdout } = await bench.run(spec, script);
      expect(stdout).to.equal("unset|2\n");
      const { id, spec: got } = await bench.start(spec);
      expect(await bench.exec(id, script)).to.equal("unset|2");
      expect(got?.unsetEnvironment).to.deep.equal(["FROM_IMAGE"]);
      expect(got?.environment).to.include({ KEPT: "2" }).and.not.have.property("FROM_IMAGE");
      return stdout;
    },
  );

  option("option.working-dir.is-set", "working_dir", "a directory", {
    spec: { workingDir: "/data" },
    script: "pwd",
    shows: "/data",
  });

  option("option.user.by-name", "user", "by name", {
    spec: { user: "app" },
    script: "id -u",
    shows: "1000",
  });

  option("option.user.by-uid", "user", "by uid", {
    spec: { user: "12" },
    script: "id -u",
    shows: "12",
  });

  option("option.user.by-uid-and-gid", "user", "by uid and gid", {
    spec: { user: "12:34" },
    script: "id -u; id -g",
    shows: "12\n34",
  });

  option("option.user.by-name-and-group", "user", "by name and group", {
    spec: { user: "app:staff" },
    script: "id -u; id -g",
    shows: "1000\n50",
  });

  option("option.group-add.by-name-and-id", "group_add", "a name and an id", {
    spec: { additionalGroups: ["staff", "777"] },
    script: "id -G",
    shows: "0 50 777",
  });

  option(
    "option.labels.come-back",
    "labels",
    "come back, nap's own names are refused",
    async (bench) => {
      const { nap, engine, image } = bench;
      const labels = { "com.example.a": "b=c", empty: "" };
      expect((await bench.create({ labels })).spec?.labels).to.deep.equal(labels);
      const spec = { source: imageSource(image), labels: { "nap.v1.request-id": "forged" } };
      const error = await failure(nap.containers.createContainer({ engine, spec }));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(error.fields).to.deep.equal(["spec.labels"]);
      return Object.keys(labels).join(", ");
    },
  );

  option(
    "option.labels.select-a-list",
    "labels",
    "a list is selected by them, with and without a value",
    async (bench) => {
      const { nap, engine } = bench;
      const key = bench.name("label");
      const one = await bench.create({ labels: { [key]: "" } });
      const two = await bench.create({ labels: { [key]: "x=y" } });
      const idsOf = async (value?: string) => {
        const filter = { labels: [{ key, ...(value !== undefined && { value }) }] };
        const { containers } = await nap.containers.listContainers({ engine, filter });
        return containers.map(({ id }) => id);
      };
      expect(await idsOf()).to.have.members([one.id, two.id]);
      expect(await idsOf("x=y")).to.deep.equal([two.id]);
      expect(await idsOf("other")).to.deep.equal([]);
      return "2, 1 and 0 containers";
    },
  );

  option(
    "option.annotations.reach-the-runtime",
    "annotations",
    "are handed to the runtime",
    async (bench) => {
      const annotations = { "com.example.note": "x" };
      const container = await bench.create({ annotations });
      expect(container.spec?.annotations).to.deep.include(annotations);
      return "x";
    },
  );

  option("option.tty.output-is-a-terminal", "tty", "output is a terminal", {
    spec: { tty: true },
    script: "test -t 1 && echo terminal",
    shows: "terminal",
  });

  option("option.tty.none", "tty", "none", {
    spec: { tty: false },
    script: "test -t 1 || echo no terminal",
    shows: "no terminal",
  });

  option("option.stdin-open.open", "stdin_open", "open: reads wait", async (bench) => {
    const { id } = await bench.start({ stdinOpen: true }, ["sh", "-c", "cat; exit 3"]);
    const link = await bench.exec(id, "readlink /proc/1/fd/0");
    expect(link).to.match(/^pipe:/);
    expect((await bench.get(id)).exit).to.equal(undefined);
    return link;
  });

  option(
    "option.stdin-open.once",
    "stdin_open",
    "open until the first client leaves (stdin_once)",
    async (bench) => {
      const { id, spec } = await bench.start({ stdinOpen: true, stdinOnce: true });
      expect(spec).to.include({ stdinOpen: true, stdinOnce: true });
      return bench.exec(id, "readlink /proc/1/fd/0");
    },
  );

  option("option.stdin-open.closed", "stdin_open", "closed: reads end", {
    spec: { stdinOpen: false },
    script: `${showStdin}; cat | wc -c`,
    shows: /^\/dev\/null\n0$/,
  });

  option("option.init.runs-as-pid-1", "init", "runs as pid 1", {
    spec: { init: true },
    script: "cat /proc/1/comm",
    shows: /init|tini/,
  });

  option("option.init.none", "init", "none: the command is pid 1", {
    spec: { init: false },
    script: "cat /proc/1/comm; true",
    shows: "sh",
  });
}

/** Brings the test image into the registry beside the engine, and gives its reference there. */
async function published(bench: Bench): Promise<string> {
  const { nap, engine } = bench;
  const image = `${bench.host?.registry}/nap/${bench.name("published")}:1`;
  const docker = `docker -H unix://${bench.hostDirectory}/docker.sock`;
  const script = `set -e; ${docker} tag nap-test:1 "$1"; ${docker} push -q "$1"; ${docker} rmi "$1"`;
  await bench.onHost(script, image);
  bench.cleanUp(() => nap.images.removeImage({ engine, image, force: true }));
  return image;
}

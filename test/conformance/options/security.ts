/** Privileges and confinement: capabilities, system calls, namespaces and devices. */
import { expect } from "chai";
import { status as Code } from "@grpc/grpc-js";
import { DeviceKind } from "../../../gen/nap/v1/container_spec_pb.js";
import type { Bench } from "../bench.js";
import { failure } from "../bench.js";
import type { OptionTest } from "./option.js";
import { imageSource } from "../../support/requests/source.js";

/** A line of a process's status. */
const status = (name: string): string => `sed -n 's/^${name}:\\t//p' /proc/self/status`;
const capability = (number: number): string =>
  `echo $(( (0x$(${status("CapEff")}) >> ${number}) & 1 ))`;
const host = { mode: { case: "host" as const, value: {} } };
const isolated = { mode: { case: "isolated" as const, value: {} } };
const namespace = (name: string): string => `readlink /proc/self/ns/${name}`;

/** The namespace of a kind that the engine's host has. */
const hostNamespace = (bench: Bench, name: string): Promise<string> =>
  bench.onHost("readlink /proc/1/ns/$1", name);

/** A namespace of the host's, and the one that a container gets by itself. */
async function sharesHost(bench: Bench, name: string, namespaces: object): Promise<string> {
  const { stdout } = await bench.run({ namespaces }, namespace(name));
  expect(stdout.trim()).to.equal(await hostNamespace(bench, name));
  return stdout.trim();
}

async function hasItsOwn(bench: Bench, name: string, namespaces: object): Promise<string> {
  const { stdout } = await bench.run({ namespaces }, namespace(name));
  expect(stdout.trim()).to.match(/^\w+:\[\d+\]$/);
  expect(stdout.trim()).not.to.equal(await hostNamespace(bench, name));
  return stdout.trim();
}

/** A namespace shared with another container, that is named by id and by name. */
async function sharesContainer(bench: Bench, kind: "pid" | "ipc"): Promise<string> {
  const shareable = { ipc: { mode: { case: "isolated" as const, value: { shareable: true } } } };
  const other = await bench.start(kind === "ipc" ? { namespaces: shareable } : {});
  const theirs = await bench.exec(other.id, namespace(kind));
  for (const value of [other.id, other.name]) {
    const namespaces = { [kind]: { mode: { case: "container" as const, value } } };
    const { stdout } = await bench.run({ namespaces }, namespace(kind));
    expect(stdout.trim()).to.equal(theirs);
  }
  return theirs;
}

export function securityOptions(option: OptionTest): void {
  option("option.privileged.all-capabilities", "privileged", "all capabilities", {
    spec: { security: { privileged: true } },
    script: capability(21),
    shows: "1",
  });

  option("option.privileged.every-device-of-the-host", "privileged", "every device of the host", {
    spec: { security: { privileged: true } },
    script: "mknod /made c 10 229 && (: </made) 2>&1 || true",
    shows: /^(?!.*not permitted)/,
  });

  option("option.cap-add.one-by-name", "cap_add", "one by name", {
    spec: { security: { capabilitiesAdd: ["NET_ADMIN"] } },
    script: `${capability(12)}; ${capability(21)}`,
    shows: "1\n0",
  });

  option("option.cap-add.all", "cap_add", "ALL", {
    spec: { security: { capabilitiesAdd: ["ALL"] } },
    script: `${capability(12)}; ${capability(21)}`,
    shows: "1\n1",
  });

  option("option.cap-drop.one-by-name", "cap_drop", "one by name", {
    spec: { security: { capabilitiesDrop: ["CHOWN"] } },
    script: `touch /x; chown 5 /x 2>&1; ${capability(0)}; ${capability(1)}`,
    shows: /Operation not permitted\n0\n1$/,
  });

  option("option.cap-drop.all", "cap_drop", "ALL", {
    spec: { security: { capabilitiesDrop: ["ALL"] } },
    script: status("CapEff"),
    shows: "0000000000000000",
  });

  option("option.cap-drop.all-but-those-added", "cap_drop", "ALL but those that are added", {
    spec: { security: { capabilitiesDrop: ["ALL"], capabilitiesAdd: ["CHOWN"] } },
    script: status("CapEff"),
    shows: "0000000000000001",
  });

  option("option.security-opt.no-new-privileges", "security_opt", "no-new-privileges", {
    spec: { security: { noNewPrivileges: true } },
    script: status("NoNewPrivs"),
    shows: "1",
  });

  option("option.security-opt.seccomp-unconfined", "security_opt", "seccomp=unconfined", {
    spec: { security: { seccomp: { case: "seccompUnconfined", value: {} } } },
    script: status("Seccomp"),
    shows: "0",
  });

  option("option.security-opt.seccomp-profile", "security_opt", "seccomp, a profile", {
    spec: {
      security: {
        seccomp: {
          case: "seccompProfile",
          value: {
            defaultAction: "SCMP_ACT_ALLOW",
            syscalls: [
              { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 },
              {
                names: ["personality"],
                action: "SCMP_ACT_ERRNO",
                args: [{ index: 0, value: 4_294_967_295n, op: "SCMP_CMP_EQ" }],
              },
            ],
          },
        },
      },
    },
    script: `${status("Seccomp")}; mkdir /made 2>&1; touch /file && echo touched`,
    shows: /^2\n.*Operation not permitted\ntouched$/,
  });

  option("option.security-opt.apparmor-profile", "security_opt", "an AppArmor profile", {
    spec: { security: { apparmorProfile: "unconfined" } },
    script: "cat /proc/self/attr/current",
    shows: "unconfined",
  });

  option("option.security-opt.selinux-label", "security_opt", "an SELinux label", {
    spec: { security: { selinux: { case: "selinuxLabel", value: { level: "s0:c1,c2" } } } },
    script: "cat /proc/self/attr/current",
    shows: /s0:c1,c2/,
  });

  option("option.security-opt.no-selinux", "security_opt", "no SELinux", {
    spec: { security: { selinux: { case: "selinuxDisabled", value: {} } } },
    script: "cat /proc/self/attr/current",
    shows: /spc_t|unconfined/,
  });

  option("option.masked-paths.are-masked", "masked and read-only paths", "masked paths", {
    spec: { security: { maskedPaths: { paths: ["/data"] } } },
    script: "ls -A /data | wc -l; head -c 1 /proc/kcore | wc -c",
    shows: /^0\n[01]$/,
  });

  option("option.masked-paths.none", "masked and read-only paths", "no masked paths", {
    spec: { security: { maskedPaths: { paths: [] } } },
    script: "grep -c -E ' /proc/(kcore|keys|timer_list) ' /proc/mounts",
    shows: "0",
  });

  option(
    "option.read-only-paths.cannot-be-written",
    "masked and read-only paths",
    "read-only paths",
    {
      spec: { security: { readOnlyPaths: { paths: ["/data"] } } },
      script: "touch /data/x 2>&1",
      shows: /Read-only file system/,
    },
  );

  option("option.read-only-paths.none", "masked and read-only paths", "no read-only paths", {
    spec: { security: { readOnlyPaths: { paths: [] } } },
    script: "grep -c ' /proc/sys ' /proc/mounts",
    shows: "0",
  });

  option(
    "option.read-only.root-cannot-be-written",
    "read_only",
    "the root file system cannot be written",
    {
      spec: { readOnlyRootFilesystem: true },
      script: "touch /x 2>&1",
      shows: /Read-only file system/,
    },
  );

  option("option.read-only.a-tmpfs-in-it-can", "read_only", "a tmpfs in it can", {
    spec: {
      readOnlyRootFilesystem: true,
      mounts: [{ target: "/t", source: { case: "tmpfs", value: {} } }],
    },
    script: "echo kept >/t/x && cat /t/x",
    shows: "kept",
  });

  option("option.pid-mode.host", "pid_mode", "host", (bench) =>
    sharesHost(bench, "pid", { pid: host }),
  );

  option("option.pid-mode.host-shows-its-processes", "pid_mode", "host, whose processes are seen", {
    spec: { namespaces: { pid: host } },
    script: "ps | grep -c '[d]ockerd' | sed 's/[1-9].*/seen/'",
    shows: "seen",
  });

  option("option.pid-mode.container", "pid_mode", "container, by id and by name", (bench) =>
    sharesContainer(bench, "pid"),
  );

  option("option.pid-mode.own", "pid_mode", "its own", (bench) =>
    hasItsOwn(bench, "pid", { pid: isolated }),
  );

  option("option.ipc-mode.host", "ipc_mode", "host", (bench) =>
    sharesHost(bench, "ipc", { ipc: host }),
  );

  option(
    "option.ipc-mode.container",
    "ipc_mode",
    "container that is shareable, by id and by name",
    (bench) => sharesContainer(bench, "ipc"),
  );

  option("option.ipc-mode.private", "ipc_mode", "its own, that none may share", async (bench) => {
    const { nap, engine, image } = bench;
    const { id } = await bench.start({ namespaces: { ipc: isolated } });
    const mode = { case: "container" as const, value: id };
    const spec = {
      source: imageSource(image),
      command: { arguments: ["true"] },
      namespaces: { ipc: { mode } },
    };
    const create = async () => {
      const { container } = await nap.containers.createContainer({ engine, spec });
      bench.forget(container?.id ?? "");
      await nap.containers.startContainer({ engine, container: container?.id ?? "" });
    };
    const error = await failure(create());
    expect(error.message).to.match(/shareable|non-shareable/);
    return Code[error.code];
  });

  option("option.ipc-mode.none", "ipc_mode", "its own, without /dev/shm", {
    spec: { namespaces: { ipc: { mode: { case: "isolated", value: { withoutShm: true } } } } },
    script: "grep -c ' /dev/shm ' /proc/mounts",
    shows: "0",
  });

  option("option.uts-mode.host", "uts_mode", "host", (bench) =>
    sharesHost(bench, "uts", { uts: host }),
  );

  option("option.uts-mode.own", "uts_mode", "its own", (bench) =>
    hasItsOwn(bench, "uts", { uts: isolated }),
  );

  option("option.userns-mode.host", "userns_mode", "host", (bench) =>
    sharesHost(bench, "user", { user: host }),
  );

  option("option.userns-mode.own", "userns_mode", "its own", (bench) =>
    hasItsOwn(bench, "user", { user: isolated }),
  );

  option("option.cgroupns-mode.host", "cgroupns_mode", "host", (bench) =>
    sharesHost(bench, "cgroup", { cgroup: host }),
  );

  option("option.cgroupns-mode.own", "cgroupns_mode", "its own", (bench) =>
    hasItsOwn(bench, "cgroup", { cgroup: isolated }),
  );

  option("option.devices.read-only", "devices", "read alone", {
    spec: {
      devices: [{ hostPath: "/dev/fuse", containerPath: "/dev/some", permissions: { read: true } }],
    },
    script: "(: </dev/some) && echo readable; (: >/dev/some) 2>&1",
    shows: /^readable\n.*(not permitted|denied)/,
  });

  option(
    "option.devices.with-full-access",
    "devices",
    "at the same path, with everything allowed",
    {
      spec: { devices: [{ hostPath: "/dev/fuse" }] },
      script: "(: </dev/fuse) && (: >/dev/fuse) && echo both",
      shows: "both",
    },
  );

  option(
    "option.device-cgroup-rules.allow-a-node",
    "device_cgroup_rules",
    "a node that the container makes itself",
    {
      spec: {
        deviceCgroupRules: [
          {
            kind: DeviceKind.CHARACTER,
            major: 10,
            minor: 229,
            permissions: { read: true, makeNode: true },
          },
        ],
      },
      script: "mknod /made c 10 229; (: </made) && echo readable; (: >/made) 2>&1",
      shows: /^readable\n.*(not permitted|denied)/,
    },
  );

  option(
    "option.device-cgroup-rules.deny-without-a-rule",
    "device_cgroup_rules",
    "a node for which there is no rule",
    { spec: {}, script: "mknod /made c 10 229; (: </made) 2>&1", shows: /not permitted/ },
  );

  option(
    "option.device-requests.a-missing-driver-is-refused",
    "device_requests",
    "a driver that the host does not have is refused",
    async (bench) => {
      const { nap, engine } = bench;
      const selection = { case: "count" as const, value: 1 };
      const spec = { deviceRequests: [{ selection, capabilities: [{ names: ["gpu"] }] }] };
      const start = async () => {
        const { id: container } = await bench.create(spec);
        await nap.containers.startContainer({ engine, container });
      };
      const error = await failure(start());
      expect(error.message).to.match(/could not select device driver/);
      return Code[error.code];
    },
  );

  option("option.sysctls.of-the-network", "sysctls", "a parameter of its network", {
    spec: { sysctls: { "net.ipv4.ip_unprivileged_port_start": "77" } },
    script: "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    shows: "77",
  });

  option("option.sysctls.of-the-shared-memory", "sysctls", "a parameter of its shared memory", {
    spec: { sysctls: { "kernel.shmmni": "321" } },
    script: "cat /proc/sys/kernel/shmmni",
    shows: "321",
  });

  option(
    "option.runtime.by-name",
    "runtime",
    "by the name that the engine knows it under",
    async (bench) => {
      const { id } = await bench.start({ runtime: "logged" });
      const calls = await bench.onHost('cat "$1"', `${bench.hostDirectory}/runtime.log`);
      expect(calls).to.include(id);
      return "the runtime was called";
    },
  );

  option("option.lxc-conf.raw-keys", "lxc_conf", "raw keys", {
    spec: { lxcConfig: [{ key: "lxc.environment", value: "RAW=1" }] },
    script: 'echo "$RAW"',
    shows: "1",
  });
}

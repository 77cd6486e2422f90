/** Every leaf of a spec reaches Docker, comes back, or is refused: none is dropped unseen. */
import type { DescField, DescMessage, Message, MessageInitShape } from "@bufbuild/protobuf";
import { clone, create, ScalarType } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { expect } from "chai";
import type { ContainerSpec, VolumeSpec } from "../../../../gen/nap/v1/container_spec_pb.js";
import { ContainerSpecSchema, VolumeSpecSchema } from "../../../../gen/nap/v1/container_spec_pb.js";
import type { NetworkSpec } from "../../../../gen/nap/v1/network_service_pb.js";
import { NetworkSpecSchema } from "../../../../gen/nap/v1/network_service_pb.js";
import { NapError } from "../../../contract/errors.js";
import { fieldName, supportEntries, unsupportedFields } from "../../../contract/unsupported.js";
import { contractViolations } from "../../../contract/validation/validate.js";
import { specToDocker } from "./container/container-spec.js";
import { networkSpecToDocker } from "./network-spec.js";
import { volumeSpecToDocker } from "./volume.js";
import { platformText } from "../platform.js";
import { dockerSupport } from "../../docker/support.js";
import { imageSource } from "../../../../test/support/requests/source.js";
import { RuleTable } from "../../../contract/validation/rules.js";

const rules = new RuleTable();

/** A host that lacks nothing. */
const host = {
  CgroupVersion: "1",
  MemoryLimit: true,
  SwapLimit: true,
  PidsLimit: true,
  SecurityOptions: ["name=apparmor", "name=selinux"],
};

/** What a message needs beside the leaf, so that the conversion has something to work on. */
const skeletons: Readonly<Record<string, object>> = {
  "nap.v1.ContainerSpec": { source: imageSource("i") },
  "nap.v1.Mount": { target: "/t", source: { case: "tmpfs", value: {} } },
  "nap.v1.BindMount": { origin: { case: "hostPath", value: "/h" }, createHostPath: false },
  "nap.v1.HostAlias": { hostname: "h", target: { case: "address", value: "::1" } },
  "nap.v1.PortMapping": { containerPort: 1, hostPort: 1 },
  "nap.v1.NetworkAttachment": { network: "n" },
  "nap.v1.DevicePermissions": { read: true },
  "nap.v1.DeviceCgroupRule": { kind: 1, permissions: { read: true } },
  "nap.v1.DeviceRequest": { selection: { case: "count", value: 1 } },
  "nap.v1.Ulimit": { name: "nofile", soft: { limit: { case: "amount", value: 1n } } },
  "nap.v1.UlimitValue": { limit: { case: "amount", value: 1n } },
  "nap.v1.Namespace": { mode: { case: "container", value: "c" } },
  "nap.v1.HealthCheck": { check: { case: "shellCommand", value: "true" } },
  "nap.v1.Resources": { memoryLimitBytes: 1n },
  "nap.v1.SeccompProfile": { defaultAction: "SCMP_ACT_ALLOW" },
  "nap.v1.RestartPolicy": { mode: 2 },
  "nap.v1.Platform": { architecture: "a" },
};

/** Values that no skeleton has. */
function sample(field: DescField): unknown {
  if (field.enum) return field.enum.values.at(-1)?.number;
  switch (field.scalar) {
    case ScalarType.STRING:
      return "/sample";
    case ScalarType.BOOL:
      return true;
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return 7n;
    case ScalarType.BYTES:
      return Uint8Array.of(7);
    default:
      return 7;
  }
}

type Editor = (root: Message) => ReflectMessage;

/** Every leaf below a message, with the way to the message that holds it. */
function* leaves(
  desc: DescMessage,
  enter: Editor,
  path: string,
): Generator<[string, DescField, Editor]> {
  for (const field of desc.fields) {
    const at = `${path}.${field.name}`;
    const below = field.message;
    if (below === undefined || field.fieldKind === "map" || below.fields.length === 0) {
      yield [at, field, enter];
      continue;
    }
    yield* leaves(below, (root) => step(enter(root), field, below), at);
  }
}

function step(parent: ReflectMessage, field: DescField, desc: DescMessage): ReflectMessage {
  const skeleton = (skeletons[desc.typeName] ?? {}) as MessageInitShape<DescMessage>;
  const child = reflect(desc, create(desc, skeleton) as Message);
  if (field.fieldKind === "list") parent.get(field).add(child);
  else if (field.fieldKind === "message") parent.set(field, child);
  return child;
}

function setLeaf(parent: ReflectMessage, field: DescField): void {
  if (field.fieldKind === "list") {
    parent.get(field).add(field.message ? reflect(field.message) : sample(field));
  } else if (field.fieldKind === "map") {
    parent.get(field).set("sample", field.message ? reflect(field.message) : sample(field));
  } else if (field.fieldKind === "message") {
    parent.set(field, reflect(field.message));
  } else {
    const value = sample(field);
    parent.set(field, typeof value === "boolean" ? parent.get(field) !== value : value);
  }
}

/** What dockerd would be sent. A refusal of the conversion itself counts as something of its own. */
function sent(body: () => unknown): string {
  try {
    return JSON.stringify(body());
  } catch (error) {
    if (error instanceof NapError) return `refused: ${error.message}`;
    throw error;
  }
}

/** The specs of the contract, and how each is written for Docker. */
const specs: readonly [desc: DescMessage, write: (spec: Message, apiVersion: string) => unknown][] =
  [
    [
      ContainerSpecSchema,
      (spec, apiVersion) => [
        specToDocker(spec as ContainerSpec, {}, apiVersion),
        platformText(spec as ContainerSpec),
      ],
    ],
    [NetworkSpecSchema, (spec) => networkSpecToDocker(spec as NetworkSpec, {})],
    [VolumeSpecSchema, (spec) => volumeSpecToDocker(spec as VolumeSpec, {})],
  ];

for (const apiVersion of ["1.41", "1.48"]) {
  // As on another host: rooted paths have become host paths before they are converted.
  const support = dockerSupport(apiVersion, host, { files: false, processes: true });
  describe(`mapping to Docker API ${apiVersion}`, () => {
    for (const [desc, write] of specs) {
      const root = (spec: Message): ReflectMessage => reflect(desc, spec);
      for (const [path, field, enter] of leaves(desc, root, desc.name)) {
        it(`${path} reaches Docker or is refused`, () => {
          const skeleton = (skeletons[desc.typeName] ?? {}) as MessageInitShape<DescMessage>;
          const spec = create(desc, skeleton) as Message;
          const parent = enter(spec);
          const plain = clone(desc, spec) as Message;
          setLeaf(parent, field);
          const refused = [...unsupportedFields(support, desc, spec)];
          if (refused.length > 0) return;
          // A part that only another kind of namespace has is refused by the contract itself.
          const leaf = path.slice(desc.name.length + 1);
          const invalid = [...contractViolations(rules, desc, spec)].map(({ field: at }) => at);
          if (leaf.startsWith("namespaces.") && invalid.some((at) => leaf.startsWith(at))) return;
          const [without, withIt] = [plain, spec].map((one) => sent(() => write(one, apiVersion)));
          expect(withIt, fieldName(field)).not.to.equal(without);
        });
      }
    }
  });
}

describe("mapping to Docker", () => {
  it("is missing only what other engines have, on a host that lacks nothing", () => {
    const names = (version: string) =>
      supportEntries(dockerSupport(version, host, { files: true, processes: true })).map(
        ({ field, value }) => (value === undefined ? field : `${field}=${value}`),
      );
    const specOf = (name: string) => /^nap\.v1\.(?!\w+Request\.|ExecOpen)/.test(name);
    expect(names("1.48").filter(specOf).toSorted()).to.deep.equal([
      "nap.v1.ContainerSpec.copy",
      "nap.v1.ContainerSpec.kind=INSTANCE_KIND_SYSTEM",
      "nap.v1.ContainerSpec.kind=INSTANCE_KIND_VIRTUAL_MACHINE",
      "nap.v1.ContainerSpec.lxc_config",
      "nap.v1.ContainerSpec.root_filesystem",
      "nap.v1.ContainerSpec.template",
      "nap.v1.Namespace.path",
      "nap.v1.Namespace.pod",
      "nap.v1.Namespaces.cgroup.container",
      "nap.v1.Namespaces.mount.container",
      "nap.v1.Namespaces.mount.host",
      "nap.v1.Namespaces.user.container",
      "nap.v1.Namespaces.user.isolated",
      "nap.v1.Namespaces.uts.container",
      "nap.v1.NetworkSpec.ingress",
      "nap.v1.Resources.kernel_memory_limit_bytes",
      "nap.v1.Resources.kernel_memory_tcp_limit_bytes",
    ]);
  });

  it("honours user namespaces, but no mapped ids, where dockerd remaps users", () => {
    const remapping = { ...host, SecurityOptions: [...host.SecurityOptions, "name=userns"] };
    const support = dockerSupport("1.48", remapping, { files: true, processes: true });
    const refused = (value: object): string[] => {
      const user = { mode: { case: "isolated" as const, value } };
      const spec = create(ContainerSpecSchema, { source: imageSource("i"), namespaces: { user } });
      return [...unsupportedFields(support, ContainerSpecSchema, spec)].map(({ field }) => field);
    };
    expect(refused({})).to.deep.equal([]);
    expect(refused({ uids: [{ size: 1 }] })).to.deep.equal(["namespaces.user.isolated.uids"]);
  });
});

/** Every leaf of a container's spec reaches Docker, comes back, or is refused: none is dropped unseen. */
import type { DescField, DescMessage, Message, MessageInitShape } from "@bufbuild/protobuf";
import { clone, create, ScalarType } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { expect } from "chai";
import type { ContainerSpec } from "../../gen/nap/v1/container_spec_pb.js";
import { ContainerSpecSchema } from "../../gen/nap/v1/container_spec_pb.js";
import { NapError } from "../../src/engine/error.js";
import { fieldName, unsupportedFields } from "../../src/engine/support.js";
import { specToDocker } from "../../src/engines/docker/convert/container_spec.js";
import { platformText } from "../../src/engines/docker/platform.js";
import { dockerSupport } from "../../src/engines/docker/support.js";

const host = { CgroupVersion: "1", MemoryLimit: true, SwapLimit: true, PidsLimit: true };
const info = { ...host, SecurityOptions: ["name=apparmor"] };
// As on another host: rooted paths have become host paths before they are converted.
const support = dockerSupport("1.41", info, false);

/** What a message needs beside the leaf, so that the conversion has something to work on. */
const skeletons: Readonly<Record<string, object>> = {
  "nap.v1.ContainerSpec": { image: "i" },
  "nap.v1.Mount": { target: "/t", source: { case: "tmpfs", value: {} } },
  "nap.v1.BindMount": { origin: { case: "hostPath", value: "/h" } },
  "nap.v1.HostEntry": { hostname: "h", target: { case: "address", value: "::1" } },
  "nap.v1.PortBinding": { containerPort: 1, hostPort: 1 },
  "nap.v1.NetworkAttachment": { network: "n" },
  "nap.v1.DevicePermissions": { read: true },
  "nap.v1.DeviceCgroupRule": { kind: 1, permissions: { read: true } },
  "nap.v1.Ulimit": { name: "nofile", soft: { limit: { case: "amount", value: 1n } } },
  "nap.v1.UlimitValue": { limit: { case: "amount", value: 1n } },
  "nap.v1.PidNamespace": { mode: { case: "container", value: "c" } },
  "nap.v1.HealthProbe": { probe: { case: "shellCommand", value: "true" } },
  "nap.v1.Resources": { memoryLimit: { case: "memoryLimitBytes", value: 1n } },
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

type Editor = (root: ContainerSpec) => ReflectMessage;

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
function sent(spec: ContainerSpec): string {
  try {
    return JSON.stringify([specToDocker(spec, {}), platformText(spec)]);
  } catch (error) {
    if (error instanceof NapError) return `refused: ${error.message}`;
    throw error;
  }
}

describe("mapping to Docker", () => {
  const root = (spec: ContainerSpec): ReflectMessage => reflect(ContainerSpecSchema, spec);
  for (const [path, field, enter] of leaves(ContainerSpecSchema, root, "spec")) {
    it(`${path} reaches Docker or is refused`, () => {
      const without = create(ContainerSpecSchema, skeletons["nap.v1.ContainerSpec"]);
      const parent = enter(without);
      const plain = clone(ContainerSpecSchema, without);
      setLeaf(parent, field);
      const refused = unsupportedFields(support, ContainerSpecSchema, without);
      if (refused.length > 0) return;
      expect(sent(without), fieldName(field)).not.to.equal(sent(plain));
    });
  }
});

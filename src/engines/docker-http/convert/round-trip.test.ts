/** A spec that is converted for Docker and back is unchanged. */
import { create, toJson } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { expect } from "chai";
import * as fc from "fast-check";
import type {
  BindMount,
  ContainerSpec,
  DevicePermissions,
  Mount,
  Namespaces,
  PortMapping,
  Resources,
  RestartPolicy,
  SelinuxLabel,
  VolumeSpec,
} from "../../../../gen/nap/v1/container_spec_pb.js";
import {
  ContainerSpecSchema,
  IsolatedNamespaceSchema,
  NamespacesSchema,
  RestartMode,
  VolumeSpecSchema,
} from "../../../../gen/nap/v1/container_spec_pb.js";
import type { NetworkSpec } from "../../../../gen/nap/v1/network_service_pb.js";
import { NetworkSpecSchema } from "../../../../gen/nap/v1/network_service_pb.js";
import { specFromDocker, specToDocker } from "./container/container-spec.js";
import { networkSpecFromDocker, networkSpecToDocker } from "./network-spec.js";
import { volumeSpecFromDocker, volumeSpecToDocker } from "./volume.js";
import type { NetworkSpecJson, VolumeSpecJson } from "../json.js";
import { lostInDocker } from "../../docker/read-back.js";
import { dockerSupport } from "../../docker/support.js";
import { afterDockerd } from "../../../../test/support/requests/inspect.js";
import type { Generation } from "../../../../test/support/requests/specs.js";
import { messages } from "../../../../test/support/requests/specs.js";

/** A host that lacks nothing. */
const host = {
  CgroupVersion: "1",
  MemoryLimit: true,
  SwapLimit: true,
  PidsLimit: true,
  SecurityOptions: ["name=apparmor", "name=selinux"],
};

const matching = (pattern: RegExp) => fc.stringMatching(pattern, { size: "xsmall" });
const container = matching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,8}$/);
const path = matching(/^\/[a-z0-9._/-]{1,8}$/);
const words = (min: number) =>
  fc.array(fc.string({ unit: "grapheme", maxLength: 5 }), { minLength: min, maxLength: 3 });
const span = (most: bigint) =>
  fc.bigInt({ min: 0n, max: most }).map((nanos) =>
    create(DurationSchema, {
      seconds: nanos / 1_000_000_000n,
      nanos: Number(nanos % 1_000_000_000n),
    }),
  );
const anyNumber = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

const values: Generation["values"] = {
  "google.protobuf.Duration": span(2n ** 50n),
  "nap.v1.ContainerSpec.stop_timeout": fc
    .bigInt({ min: 0n, max: 2_147_483_647n })
    .map((seconds) => create(DurationSchema, { seconds })),
  "nap.v1.ArgumentList.arguments[]": words(2),
  "nap.v1.Namespace.container": container,
  "nap.v1.VolumesFrom.container": container,
  "nap.v1.ContainerLink.container": container,
  "nap.v1.ContainerLink.alias": container,
  "nap.v1.NetworkAttachment.network": matching(/^net[0-9]{1,3}$/),
  "nap.v1.Mount.target": path,
  "nap.v1.BindMount.host_path": path,
  "nap.v1.TmpfsMount.options": fc.constantFrom("noexec", "uid=7", "nosuid", "nr_inodes=9"),
  "nap.v1.Security.capabilities_add": matching(/^(CAP_)?[A-BD-Z][A-Z]{1,3}_[A-Z]{2}$/),
  "nap.v1.Security.capabilities_drop": matching(/^(cap_)?[a-z]{2,4}$/),
  "nap.v1.SeccompArgument.value": anyNumber,
  "nap.v1.SeccompArgument.value_two": anyNumber,
};

/** What Docker wants of a spec beside the contract's rules, and refuses plainly where it lacks it. */
const mend: Generation["mend"] = {
  "nap.v1.Resources": (resources: Resources) => {
    if (resources.memoryLimitBytes === undefined) resources.swapLimit = { case: undefined };
  },
  "nap.v1.RestartPolicy": (policy: RestartPolicy) => {
    if (policy.mode !== RestartMode.ON_FAILURE) delete policy.maximumRetryCount;
  },
  "nap.v1.DevicePermissions": (permissions: DevicePermissions) => {
    permissions.read ||= !permissions.write && !permissions.makeNode;
  },
  "nap.v1.SelinuxLabel": (label: SelinuxLabel) => {
    label.user ??= "u";
  },
  "nap.v1.PortMapping": (binding: PortMapping) => {
    const { hostPort: first, hostPortRangeEnd: last } = binding;
    if (first === undefined || (last ?? first) < first) delete binding.hostPortRangeEnd;
  },
  "nap.v1.BindMount": (bind: BindMount) => {
    if (bind.selinuxRelabel) bind.createHostPath = true;
    if (!bind.createHostPath) return;
    delete bind.nonRecursive;
    bind.recursiveReadOnly = 0;
  },
  "nap.v1.Mount": (mount: Mount) => {
    if (mount.source.case === "image") delete mount.readOnly;
  },
  "nap.v1.Namespaces": (namespaces: Namespaces) => {
    for (const { localName } of NamespacesSchema.fields) {
      const mode = namespaces[localName as "pid"]?.mode;
      if (mode?.case !== "isolated") continue;
      const { shareable, withoutShm } = mode.value;
      mode.value = create(
        IsolatedNamespaceSchema,
        localName !== "ipc"
          ? {}
          : {
              ...(shareable !== undefined && { shareable }),
              ...(withoutShm !== undefined && !shareable && { withoutShm }),
            },
      );
    }
  },
  "nap.v1.ContainerSpec": (spec: ContainerSpec) => {
    spec.unsetEnvironment = spec.unsetEnvironment.filter((name) => !(name in spec.environment));
    const mode = spec.namespaces?.network?.mode.case;
    // Docker refuses a host name beside them.
    if (mode === "container" || spec.namespaces?.uts?.mode.case === "host") delete spec.hostname;
    if (mode === "host" || mode === "container") spec.networks = [];
    const names = new Set<string>();
    spec.networks = spec.networks.filter(
      ({ network }) => !names.has(network) && names.add(network),
    );
    for (const { endpoint } of spec.networks.slice(1)) delete endpoint?.macAddress;
    if (mode !== undefined && spec.networks.length === 0 && spec.networkConfig !== undefined) {
      spec.networkConfig.portMappings = [];
      delete spec.networkConfig.publishAllPorts;
    }
    // The engine's part leaves out what networks say, too.
    if (spec.networks.length > 0) delete spec.namespaces?.network;
    const targets = new Set<string>();
    spec.mounts = spec.mounts.filter(({ target }) => {
      const plain = target.replace(/\/+|(\/\.)+(?=\/|$)/g, "/").replace(/[/.]/g, "");
      return !targets.has(plain) && targets.add(plain);
    });
  },
};

describe("round trip through Docker", () => {
  for (const apiVersion of ["1.41", "1.48"]) {
    // As on another host: rooted paths have become host paths before they are converted.
    const support = dockerSupport(apiVersion, host, { files: false, processes: true });
    const generation = { support, values, mend };

    it(`loses nothing of any container's spec (API ${apiVersion})`, function () {
      this.timeout(120_000);
      const specs = messages(ContainerSpecSchema, generation) as fc.Arbitrary<ContainerSpec>;
      fc.assert(
        fc.property(specs, (spec) => {
          const sent = specToDocker(spec, { "nap.v1.request-id": "r" }, apiVersion);
          const got = specFromDocker(afterDockerd(sent, apiVersion !== "1.41"));
          const lost = lostInDocker(ContainerSpecSchema, spec, got);
          expect(lost, JSON.stringify(toJson(ContainerSpecSchema, spec))).to.deep.equal([]);
        }),
        { numRuns: 300 },
      );
    });

    it(`gives the same spec again when it is asked for what it reported (API ${apiVersion})`, function () {
      this.timeout(120_000);
      const specs = messages(ContainerSpecSchema, generation) as fc.Arbitrary<ContainerSpec>;
      const through = (spec: ContainerSpec): ContainerSpec =>
        specFromDocker(afterDockerd(specToDocker(spec, {}, apiVersion), apiVersion !== "1.41"));
      fc.assert(
        fc.property(specs, (spec) => {
          const once = through(spec);
          expect(toJson(ContainerSpecSchema, through(once))).to.deep.equal(
            toJson(ContainerSpecSchema, once),
          );
        }),
        { numRuns: 200 },
      );
    });

    it(`loses nothing of any network's spec (API ${apiVersion})`, () => {
      const specs = messages(NetworkSpecSchema, generation) as fc.Arbitrary<NetworkSpec>;
      fc.assert(
        fc.property(specs, (spec) => {
          const sent = networkSpecToDocker(spec, { "nap.v1.request-id": "r" });
          const json = JSON.parse(JSON.stringify(sent)) as NetworkSpecJson;
          const known = {
            EnableIPv4: true,
            Scope: "local",
            IPAM: { Driver: "default", Options: null, Config: null },
          };
          const got = networkSpecFromDocker({ ...known, ...json });
          expect(lostInDocker(NetworkSpecSchema, spec, got)).to.deep.equal([]);
        }),
      );
    });

    it(`loses nothing of any volume's spec (API ${apiVersion})`, () => {
      const specs = messages(VolumeSpecSchema, generation) as fc.Arbitrary<VolumeSpec>;
      fc.assert(
        fc.property(specs, (spec) => {
          const sent = volumeSpecToDocker(spec, { "nap.v1.request-id": "r" });
          const { DriverOpts, ...json } = JSON.parse(JSON.stringify(sent)) as VolumeSpecJson;
          const got = volumeSpecFromDocker({ ...json, Options: DriverOpts });
          expect(lostInDocker(VolumeSpecSchema, spec, got)).to.deep.equal([]);
        }),
      );
    });
  }
});

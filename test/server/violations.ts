/** How Docker and the server refuse requests: each with its reason and the fields at fault. */
import { create, toBinary } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import Docker from "dockerode";
import type { UpdateContainerRequestSchema } from "../../gen/nap/v1/container_service_pb.js";
import { ContainerSpecSchema, RestartMode } from "../../gen/nap/v1/container_spec_pb.js";
import { ContainerService } from "../../gen/nap/v1/container_service_pb.js";
import { eventually } from "../conformance/bench.js";
import type { RpcError } from "../support/client.js";
import { failure, openChannel, rawCall } from "../support/client.js";
import type { DockerBench } from "../docker/cases.js";
import { imageSource } from "../support/requests/source.js";

/** Declares the cases of requests that are refused. */
export function errorCases(open: () => DockerBench): void {
  it("reports all violations of a request at once, each with its reason", async () => {
    const { nap, bench } = open();
    const error = await failure(
      nap.containers.createContainer({
        engine: "docker",
        name: "a b",
        spec: {
          source: imageSource(bench.image),
          lxcConfig: [{ key: "lxc.a" }],
          namespaces: { user: { mode: { case: "isolated", value: {} } } },
          resources: { memoryLimitBytes: -1n },
        },
      }),
    );
    expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
    const found = error.badRequest?.fieldViolations.map(({ field, reason }) => [field, reason]);
    expect(found).to.deep.equal([
      ["name", "FIELD_INVALID"],
      ["spec.resources.memory_limit_bytes", "FIELD_INVALID"],
      ["spec.namespaces.user.isolated", "FIELD_UNSUPPORTED"],
      ["spec.lxc_config", "FIELD_UNSUPPORTED"],
    ]);
  });

  it("tells of many violations in a status that every client can take", async () => {
    const { nap, bench } = open();
    const additionalGroups = Array.from({ length: 3000 }, () => "");
    const spec = { source: imageSource(bench.image), additionalGroups };
    const error = await failure(nap.containers.createContainer({ engine: "docker", spec }));
    expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
    expect(error.badRequest?.fieldViolations).to.have.length(16);
    expect(error.badRequest?.fieldViolations.at(-1)?.description).to.include(
      "(and more violations)",
    );
    expect(error.message.length).to.be.below(1200);
  });

  it("refuses an unknown field number with its path", async () => {
    const { nap, bench } = open();
    const spec = create(ContainerSpecSchema, { source: imageSource(bench.image) });
    spec.$unknown = [{ no: 4000, wireType: 0, data: Uint8Array.of(1) }];
    const error = await failure(nap.containers.createContainer({ engine: "docker", spec }));
    expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_UNKNOWN" });
    expect(error.fields).to.deep.equal(["spec.4000"]);
  });

  it("says of a reference that cannot be parsed that it is the field at fault", async () => {
    const { nap, bench } = open();
    const engine = "docker";
    const { id: container } = await bench.create({});
    for (const reference of ["A", "a b", "../x", "a@sha256:zz", "x".repeat(300)]) {
      for (const call of [
        () => nap.containers.commitContainer({ engine, container, reference }),
        () => nap.images.tagImage({ engine, image: bench.image, reference }),
      ]) {
        const error = await failure(call());
        expect(error, reference).to.include({ reason: "FIELD_INVALID" });
        expect(error.fields, reference).to.deep.equal(["reference"]);
      }
    }
  });

  it("reports no host name that a container has of another, so that it can be created again", async () => {
    const { nap, bench } = open();
    const engine = "docker";
    const other = await bench.start({});
    const host = { mode: { case: "host" as const, value: {} } };
    for (const namespaces of [
      { uts: host, network: host },
      { network: { mode: { case: "container" as const, value: other.id } } },
    ]) {
      const { spec } = await bench.start({ namespaces });
      expect(spec?.hostname).to.equal(undefined);
      const again = await nap.containers.createContainer({ engine, spec: spec! });
      bench.forget(again.container!.id);
    }
  });

  it("refuses an engine that does not exist, naming those that do", async () => {
    const { nap } = open();
    const error = await failure(nap.containers.listContainers({ engine: "other" }));
    expect(error).to.include({ code: Code.NOT_FOUND, reason: "ENGINE_NOT_FOUND" });
    expect(error.message).to.include("docker");
  });

  it("answers UNIMPLEMENTED for a method that is not there, and declares it", async () => {
    const { nap } = open();
    const error = await failure(nap.volumes.listVolumes({ engine: "runc" }));
    expect(error).to.include({
      code: Code.UNIMPLEMENTED,
      reason: "METHOD_UNSUPPORTED",
    });
    const thin = await nap.engines.getEngineCapabilities({ engine: "runc" });
    expect(thin.unsupportedMethods).to.include("nap.v1.VolumeService/ListVolumes");
    const said = await nap.engines.getEngineCapabilities({ engine: "docker" });
    expect(said.supportedMethods).to.include("nap.v1.ContainerService/CreateContainer");
    expect(said.supportedMethods.length + said.unsupportedMethods.length).to.equal(58);
    const fields = said.unsupportedFields.map(({ field }) => field);
    expect(fields).to.include("nap.v1.ContainerSpec.lxc_config");
  });

  it("refuses to lift a memory limit, which Docker cannot, and to change what it never changes", async () => {
    const { nap, bench } = open();
    const resources = { memoryLimitBytes: 33_554_432n, cpusetCpus: [0] };
    const { id: container } = await bench.start({ resources });
    for (const [change, field] of [
      [{ clear: ["restart_policy", "resources.memory_limit_bytes"] }, "clear[1]"],
      [{ clear: ["resources.cpuset_cpus"] }, "clear[0]"],
      [{ clear: ["resources.block_io.weight"] }, "clear[0]"],
      [{ resources: { memorySwappiness: 10n } }, "resources.memory_swappiness"],
      [{ resources: { oomKillDisabled: true } }, "resources.oom_kill_disabled"],
    ] as const) {
      const request = { engine: "docker", container, ...change } as MessageInitShape<
        typeof UpdateContainerRequestSchema
      >;
      const error = await failure(nap.containers.updateContainer(request));
      expect(error).to.include({ reason: "FIELD_UNSUPPORTED" });
      expect(error.fields).to.deep.equal([field]);
    }
  });

  it("refuses Docker's networks host and none as attachments, and says what to say instead", async () => {
    const { dockerd, nap, bench } = open();
    const docker = new Docker({ socketPath: dockerd.socket, host: undefined, port: undefined });
    const idOf = async (name: string): Promise<string> =>
      ((await docker.getNetwork(name).inspect()) as { Id: string }).Id;
    const [host, none] = [await idOf("host"), await idOf("none")];
    for (const [network, instead] of [
      ["host", "spec.namespaces.network.host"],
      [host, "spec.namespaces.network.host"],
      [host.slice(0, 12), "spec.namespaces.network.host"],
      ["none", "spec.namespaces.network.isolated without networks"],
      [none, "spec.namespaces.network.isolated without networks"],
    ] as const) {
      const spec = { source: imageSource(bench.image), networks: [{ network }] };
      const error = await failure(nap.containers.createContainer({ engine: "docker", spec }));
      expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "FIELD_INVALID" });
      expect(error.fields).to.deep.equal(["spec.networks[0].network"]);
      expect(error.message).to.include(instead);
    }
  });

  it("tells a second removal of a container that the first one is under way", async () => {
    const { nap, bench } = open();
    await eventually(async () => {
      const { id: container } = await bench.start({});
      const remove = () =>
        nap.containers.removeContainer({ engine: "docker", container, force: true });
      const outcomes = await Promise.allSettled(Array.from({ length: 8 }, remove));
      const errors = outcomes.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
      const reasons = (errors as RpcError[]).map(({ reason }) => reason);
      for (const reason of reasons) {
        expect(reason).to.be.oneOf(["OPERATION_IN_PROGRESS", "CONTAINER_NOT_FOUND"]);
      }
      const error = (errors as RpcError[]).find(({ reason }) => reason === "OPERATION_IN_PROGRESS");
      if (error === undefined) return undefined;
      expect(error.code).to.equal(Code.ABORTED);
      expect(error.retryAfterMillis).to.be.greaterThan(0);
      return true;
    });
    await bench.tidy();
  });

  it("tells bytes that are no message, and a number of requests that the method does not take", async () => {
    const { nap } = open();
    const channel = openChannel(nap.address);
    const { getContainer } = ContainerService.method;
    const request = Buffer.from(
      toBinary(getContainer.input, create(getContainer.input, { container: "a" })),
    );
    try {
      for (const requests of [[Buffer.from([0xff])], [], [request, request]]) {
        const error = await failure(rawCall(channel, getContainer, requests));
        expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "MALFORMED_MESSAGE" });
      }
    } finally {
      channel.close();
    }
  });

  it("tells an ambiguous prefix from a container that is not there", async () => {
    const { bench } = open();
    const prefixes = new Set<string>();
    let shared: string | undefined;
    // Two of at most 17 ids have the same first digit.
    while (shared === undefined) {
      const [digit = ""] = (await bench.create({})).id;
      if (prefixes.has(digit)) shared = digit;
      prefixes.add(digit);
    }
    const error = await failure(bench.get(shared));
    expect(error).to.include({ code: Code.INVALID_ARGUMENT, reason: "AMBIGUOUS_ID" });
  });

  for (const [claim, spec, field] of [
    [
      "a memory limit below the engine's minimum",
      { resources: { memoryLimitBytes: 4096n } },
      "spec.resources.memory_limit_bytes",
    ],
    [
      "swap without a memory limit",
      { resources: { swapLimit: { case: "swapLimitBytes", value: 1n } } },
      "spec.resources.swap_limit_bytes",
    ],
    [
      "a capability that does not exist",
      { security: { capabilitiesAdd: ["NO_SUCH"] } },
      "spec.security.capabilities_add",
    ],
    [
      "a processor that does not exist",
      { resources: { cpusetCpus: [4000] } },
      "spec.resources.cpuset_cpus",
    ],
    [
      "a memory node that does not exist",
      { resources: { cpusetMems: [1000] } },
      "spec.resources.cpuset_mems",
    ],
    ["a signal that does not exist", { stopSignal: "SIGNONE" }, "spec.stop_signal"],
    [
      "a log option that does not exist",
      { logConfig: { driver: "json-file", options: { no: "1" } } },
      "spec.log_config",
    ],
    ["a runtime that does not exist", { runtime: "none" }, "spec.runtime"],
    [
      "auto_remove with a restart policy",
      { autoRemove: true, restartPolicy: { mode: RestartMode.ALWAYS } },
      "spec.auto_remove",
    ],
    [
      "part of a second where the engine counts whole ones",
      { stopTimeout: { seconds: 1n, nanos: 5 } },
      "spec.stop_timeout",
    ],
  ] as const) {
    it(`refuses ${claim} with the field's path`, async () => {
      const { nap, bench } = open();
      const command = { arguments: ["true"] };
      const request = {
        engine: "docker",
        spec: { source: imageSource(bench.image), command, ...spec } as object,
      };
      const error = await failure(nap.containers.createContainer(request));
      expect(error.code).to.equal(Code.INVALID_ARGUMENT);
      expect(error.fields).to.deep.equal([field]);
    });
  }
}

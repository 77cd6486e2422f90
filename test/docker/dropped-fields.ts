/** What dockerd is asked for and does not do is no success, and leaves nothing behind. */
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import type { ContainerSpecSchema } from "../../gen/nap/v1/container_spec_pb.js";
import { RestartMode } from "../../gen/nap/v1/container_spec_pb.js";
import type { SpecInit } from "../conformance/bench.js";
import { all, failure } from "../support/client.js";
import type { TestNap } from "../support/engines/nap.js";
import { startNap } from "../support/engines/nap.js";
import type { DockerProxy, Json } from "../support/engines/proxy.js";
import { startProxy } from "../support/engines/proxy.js";
import type { DockerBench } from "./cases.js";
import { imageSource } from "../support/requests/source.js";

const host = (body: Json): Json => body["HostConfig"] as Json;
const amount = (value: bigint) => ({ limit: { case: "amount" as const, value } });
const volume = { case: "volume" as const, value: {} };
const tmpfs = { case: "tmpfs" as const, value: { sizeBytes: 1_048_576n } };

/** Specs, what is done to the body of the create call, and the fields at fault. */
const table: readonly [spec: SpecInit, edit: (body: Json) => void, ...fields: string[]][] = [
  [
    { resources: { memoryLimitBytes: 33_554_432n } },
    (body) => delete host(body)["Memory"],
    "spec.resources.memory_limit_bytes",
  ],
  [
    { environment: { A: "1", B: "2" } },
    (body) => (body["Env"] = ["A=1", "B=3"]),
    'spec.environment["B"]',
  ],
  [
    { ulimits: [{ name: "nofile", soft: amount(100n), hard: amount(200n) }] },
    (body) => (host(body)["Ulimits"] = [{ Name: "nofile", Soft: 100, Hard: 150 }]),
    "spec.ulimits[0].hard.amount",
  ],
  [
    {
      mounts: [
        { target: "/a", source: volume },
        { target: "/b", source: tmpfs },
      ],
    },
    (body) => (host(body)["Mounts"] as unknown[]).pop(),
    "spec.mounts[1]",
  ],
  [
    { security: { capabilitiesAdd: ["net_admin", "CAP_SYS_TIME"], noNewPrivileges: true } },
    (body) => Object.assign(host(body), { CapAdd: ["NET_ADMIN"], SecurityOpt: [] }),
    "spec.security.capabilities_add[1]",
    "spec.security.no_new_privileges",
  ],
  [
    { healthCheck: { check: { case: "shellCommand", value: "true" }, interval: { seconds: 7n } } },
    (body) => delete (body["Healthcheck"] as Json)["Interval"],
    "spec.health_check.interval",
  ],
  [
    {
      networkConfig: { dnsServers: ["10.0.0.1", "10.0.0.2"] },
      namespaces: { network: { mode: { case: "isolated", value: {} } } },
    },
    (body) => Object.assign(host(body), { Dns: ["10.0.0.1"], NetworkMode: "default" }),
    "spec.network_config.dns_servers[1]",
    "spec.namespaces.network.isolated",
  ],
  [
    { restartPolicy: { mode: RestartMode.ALWAYS }, tty: true, hostname: "h" },
    (body) => {
      delete host(body)["RestartPolicy"];
      delete body["Tty"];
      delete body["Hostname"];
    },
    "spec.hostname",
    "spec.tty",
    "spec.restart_policy.mode",
  ],
];

/** Declares the cases. */
export function droppedFieldCases(open: () => DockerBench): void {
  let proxy: DockerProxy;
  let nap: TestNap;

  before(async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "proxy-"));
    proxy = await startProxy(join(directory, "docker.sock"), dockerd.socket);
    const docker = { driver: "docker", url: `unix://${proxy.socket}` };
    nap = await startNap(directory, { engines: { docker } });
  });

  after(async () => {
    await nap?.stop();
    await proxy?.stop();
  });

  afterEach(() => {
    proxy.change = undefined;
  });

  const engine = "docker";
  const ids = async (): Promise<string[]> => {
    const { containers } = await nap.containers.listContainers({ engine });
    return containers.map(({ id }) => id);
  };

  for (const [given, edit, ...fields] of table) {
    it(`refuses a container without ${fields.join(" and ")}, and leaves none`, async () => {
      const { bench } = open();
      const command = { arguments: ["true"] };
      const spec = { source: imageSource(bench.image), command, ...given } as MessageInitShape<
        typeof ContainerSpecSchema
      >;
      const request = { engine, spec };
      const made = await nap.containers.createContainer(request);
      bench.forget(made.container?.id ?? "");
      const before = await ids();
      proxy.change = { path: /\/containers\/create/, edit };
      const count = proxy.changed.length;
      for (const call of [
        () => nap.containers.createContainer(request),
        () => all(nap.containers.runContainer(request)),
      ]) {
        const error = await failure(call());
        expect(error).to.include({
          code: Code.FAILED_PRECONDITION,
          reason: "FIELD_NOT_APPLIED",
        });
        expect(error.fields).to.deep.equal(fields);
      }
      expect(proxy.changed.length).to.equal(count + 2);
      expect(await ids()).to.deep.equal(before);
    });
  }

  it("names the field that dockerd itself says it discards", async () => {
    const { bench } = open();
    const before = await ids();
    const networkConfig = { portMappings: [{ containerPort: 80, hostPort: 8080 }] };
    const namespaces = { network: { mode: { case: "host" as const, value: {} } } };
    const command = { arguments: ["true"] };
    const spec = { source: imageSource(bench.image), command, networkConfig, namespaces };
    const error = await failure(nap.containers.createContainer({ engine, spec }));
    expect(error.reason).to.equal("FIELD_NOT_APPLIED");
    expect(error.fields).to.deep.equal(["spec.network_config.port_mappings"]);
    expect(error.badRequest?.fieldViolations[0]?.description).to.include("are discarded");
    expect(await ids()).to.deep.equal(before);
  });

  it("says so where an update changed nothing", async () => {
    const { bench } = open();
    const { id: container } = await bench.create({});
    const restartPolicy = { mode: RestartMode.ON_FAILURE, maximumRetryCount: 3 };
    const resources = { cpuShares: 512n, cpusetCpus: [0] };
    const request = { engine, container, restartPolicy, resources };
    proxy.change = {
      path: /\/update/,
      edit: (body) => {
        delete body["CpuShares"];
        body["RestartPolicy"] = { Name: "on-failure", MaximumRetryCount: 2 };
      },
    };
    const error = await failure(nap.containers.updateContainer(request));
    expect(error.reason).to.equal("FIELD_NOT_APPLIED");
    expect(error.fields).to.deep.equal([
      "resources.cpu_shares",
      "restart_policy.maximum_retry_count",
    ]);
    proxy.change = undefined;
    const updated = await nap.containers.updateContainer(request);
    expect(updated.container?.spec?.resources?.cpuShares).to.equal(512n);
  });

  it("refuses a network without what was asked for, and leaves none", async () => {
    const { bench } = open();
    const name = bench.name("network");
    const spec = {
      internal: true,
      driverOptions: { "com.docker.network.bridge.name": "nap-drop" },
    };
    proxy.change = { path: /\/networks\/create/, edit: (body) => delete body["Internal"] };
    const error = await failure(nap.networks.createNetwork({ engine, name, spec }));
    expect(error.reason).to.equal("FIELD_NOT_APPLIED");
    expect(error.fields).to.deep.equal(["spec.internal"]);
    const gone = await failure(nap.networks.getNetwork({ engine, network: name }));
    expect(gone.reason).to.equal("NETWORK_NOT_FOUND");
    proxy.change = undefined;
    await nap.networks.createNetwork({ engine, name, spec });
    await nap.networks.removeNetwork({ engine, network: name });
  });

  it("makes a volume without a name on a dockerd that labels it, and finds it by its request_id", async () => {
    const { bench } = open();
    // Docker does so itself from 23.0 on.
    const label = "com.docker.volume.anonymous";
    proxy.change = {
      path: /\/volumes\/create/,
      edit: (body) => ((body["Labels"] as Json)[label] = ""),
    };
    const request = { engine, requestId: bench.name("request"), spec: { labels: { a: "b" } } };
    const { volume } = await nap.volumes.createVolume(request);
    const name = volume?.name ?? "";
    bench.cleanUp(() => nap.volumes.removeVolume({ engine, volume: name }));
    expect(volume?.spec?.labels).to.deep.equal({ a: "b", [label]: "" });
    const again = await nap.volumes.createVolume(request);
    expect(again).to.deep.include({ volume, changed: false });
    const got = await nap.volumes.getVolume({ engine, volume: name });
    expect(got.volume?.spec?.labels).to.deep.equal({ a: "b", [label]: "" });
    await bench.tidy();
  });

  it("refuses a volume without a name and a part of what was asked for, and leaves none", async () => {
    const names = async (): Promise<string[]> => {
      const { volumes } = await nap.volumes.listVolumes({ engine, pageSize: 1000 });
      return volumes.map(({ name }) => name);
    };
    const before = await names();
    const edit = (body: Json): boolean => delete (body["Labels"] as Json)["a"];
    proxy.change = { path: /\/volumes\/create/, edit };
    const spec = { labels: { a: "b", c: "d" } };
    const error = await failure(nap.volumes.createVolume({ engine, spec }));
    expect(error).to.include({ code: Code.FAILED_PRECONDITION, reason: "FIELD_NOT_APPLIED" });
    expect(error.fields).to.deep.equal(['spec.labels["a"]']);
    expect(await names()).to.deep.equal(before);
  });
}

/** Every situation in which a call can fail on a real engine: its code, its reason, and what it names. */
import { randomBytes } from "node:crypto";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { WaitCondition } from "../../gen/nap/v1/container_service_pb.js";
import type { Bench } from "../conformance/bench.js";
import { importMessages } from "../conformance/cases/images.js";
import { all, failure, resultOf } from "../support/client.js";
import type { DockerBench } from "../docker/cases.js";
import { imageSource } from "../support/requests/source.js";

const engine = "docker";

/** What the situations are about. */
interface Scene {
  readonly bench: Bench;
  readonly running: string;
  readonly stopped: string;
  readonly paused: string;
  readonly network: string;
  readonly volume: string;
}

interface Situation {
  readonly code: Code;
  readonly reason: string;
  /** A call that fails, and the object that its failure must name. */
  readonly fail: (scene: Scene) => [call: Promise<unknown>, object: string];
}

const { FAILED_PRECONDITION, NOT_FOUND, ALREADY_EXISTS, INVALID_ARGUMENT, UNAVAILABLE } = Code;

const absent = "no-such-object";

const situations: Readonly<Record<string, Situation>> = {
  "a command in a container that does not run": {
    code: FAILED_PRECONDITION,
    reason: "CONTAINER_NOT_RUNNING",
    fail: ({ bench: { nap }, stopped: container }) => [
      nap.containers.execContainerSync({ engine, container, exec: { command: ["true"] } }),
      container,
    ],
  },
  "a pause of a container that does not run": {
    code: FAILED_PRECONDITION,
    reason: "CONTAINER_NOT_RUNNING",
    fail: ({ bench: { nap }, stopped: container }) => [
      nap.containers.pauseContainer({ engine, container }),
      container,
    ],
  },
  "a signal to a container that does not run": {
    code: FAILED_PRECONDITION,
    reason: "CONTAINER_NOT_RUNNING",
    fail: ({ bench: { nap }, stopped: container }) => [
      nap.containers.killContainer({ engine, container }),
      container,
    ],
  },
  "a start of a container that is paused": {
    code: FAILED_PRECONDITION,
    reason: "CONTAINER_PAUSED",
    fail: ({ bench: { nap }, paused: container }) => [
      nap.containers.startContainer({ engine, container }),
      container,
    ],
  },
  "a removal of a container that runs": {
    code: FAILED_PRECONDITION,
    reason: "CONTAINER_RUNNING",
    fail: ({ bench: { nap }, running: container }) => [
      nap.containers.removeContainer({ engine, container }),
      container,
    ],
  },
  "a command that does not exist": {
    code: FAILED_PRECONDITION,
    reason: "COMMAND_NOT_FOUND",
    fail: ({ bench: { nap }, running: container }) => [
      nap.containers.execContainerSync({ engine, container, exec: { command: [absent] } }),
      container,
    ],
  },
  "a file that cannot be executed": {
    code: FAILED_PRECONDITION,
    reason: "COMMAND_NOT_EXECUTABLE",
    fail: ({ bench: { nap }, running: container }) => [
      nap.containers.execContainerSync({
        engine,
        container,
        exec: { command: ["/etc/not-executable"] },
      }),
      container,
    ],
  },
  "a name that another container has": {
    code: ALREADY_EXISTS,
    reason: "NAME_IN_USE",
    fail: ({ bench, running }) => [
      bench.nap.containers.createContainer({
        engine,
        name: running,
        spec: { source: imageSource(bench.image), command: { arguments: ["true"] } },
      }),
      running,
    ],
  },
  "a network under a name that another one has": {
    code: ALREADY_EXISTS,
    reason: "NAME_IN_USE",
    fail: ({ bench: { nap }, network: name }) => [
      nap.networks.createNetwork({ engine, name, spec: { internal: true } }),
      name,
    ],
  },
  "a volume under a name that another one has": {
    code: ALREADY_EXISTS,
    reason: "NAME_IN_USE",
    fail: ({ bench: { nap }, volume: name }) => [
      nap.volumes.createVolume({ engine, name, spec: { labels: { other: "" } } }),
      name,
    ],
  },
  "a removal of a volume in use": {
    code: FAILED_PRECONDITION,
    reason: "RESOURCE_IN_USE",
    fail: ({ bench: { nap }, volume }) => [nap.volumes.removeVolume({ engine, volume }), volume],
  },
  "a removal of a network in use": {
    code: FAILED_PRECONDITION,
    reason: "RESOURCE_IN_USE",
    fail: ({ bench: { nap }, network }) => [
      nap.networks.removeNetwork({ engine, network }),
      network,
    ],
  },
  "a removal of an image in use": {
    code: FAILED_PRECONDITION,
    reason: "RESOURCE_IN_USE",
    fail: ({ bench: { nap, image } }) => [nap.images.removeImage({ engine, image }), image],
  },
  "a removal of a network of the engine's own": {
    code: FAILED_PRECONDITION,
    reason: "NETWORK_BUILT_IN",
    fail: ({ bench: { nap } }) => [
      nap.networks.removeNetwork({ engine, network: "bridge" }),
      "bridge",
    ],
  },
  "a network that is not there, of a new container": {
    code: NOT_FOUND,
    reason: "NETWORK_NOT_FOUND",
    fail: ({ bench }) => {
      const spec = { source: imageSource(bench.image), networks: [{ network: absent }] };
      return [bench.nap.containers.createContainer({ engine, spec }), absent];
    },
  },
  "a source of a bind mount that is not there": {
    code: FAILED_PRECONDITION,
    reason: "BIND_SOURCE_NOT_FOUND",
    fail: ({ bench }) => {
      const origin = { case: "hostPath" as const, value: `/${absent}` };
      const mounts = [{ target: "/x", source: { case: "bind" as const, value: { origin } } }];
      const spec = { source: imageSource(bench.image), mounts };
      return [bench.nap.containers.createContainer({ engine, spec }), absent];
    },
  },
  "a connection that there is": {
    code: ALREADY_EXISTS,
    reason: "ENDPOINT_EXISTS",
    fail: ({ bench: { nap }, running: container, network }) => [
      nap.networks.connectContainer({ engine, container, network }),
      network,
    ],
  },
  "a size for a terminal that there is not": {
    code: FAILED_PRECONDITION,
    reason: "NO_TERMINAL",
    fail: ({ bench: { nap }, running: container }) => [
      nap.containers.resizeContainerTerminal({ engine, container, size: { columns: 1, rows: 1 } }),
      container,
    ],
  },
  "a command that was never started": {
    code: NOT_FOUND,
    reason: "EXEC_NOT_FOUND",
    fail: ({ bench: { nap }, running: container }) => {
      const execId = randomBytes(32).toString("hex");
      const size = { columns: 1, rows: 1 };
      return [nap.containers.resizeContainerTerminal({ engine, container, size, execId }), execId];
    },
  },
  "a path that is not there": {
    code: NOT_FOUND,
    reason: "PATH_NOT_FOUND",
    fail: ({ bench: { nap }, running: container }) => [
      nap.containers.statContainerPath({ engine, container, path: `/${absent}` }),
      absent,
    ],
  },
  "a wait for the health of a container without a health check": {
    code: FAILED_PRECONDITION,
    reason: "NO_HEALTH_CHECK",
    fail: ({ bench: { nap }, running: container }) => [
      all(nap.containers.waitContainer({ engine, container, condition: WaitCondition.HEALTHY })),
      container,
    ],
  },
  "a cursor of logs that is none": {
    code: INVALID_ARGUMENT,
    reason: "CURSOR_INVALID",
    fail: ({ bench: { nap }, running: container }) => [
      all(nap.containers.streamContainerLogs({ engine, container, cursor: "none" })),
      "cursor",
    ],
  },
  "a cursor of events that is none": {
    code: INVALID_ARGUMENT,
    reason: "CURSOR_INVALID",
    fail: ({ bench: { nap } }) => [
      all(nap.engines.streamEvents({ engine, cursor: "none" })),
      "cursor",
    ],
  },
  "an archive of images that is none": {
    code: INVALID_ARGUMENT,
    reason: "ARCHIVE_INVALID",
    fail: ({ bench: { nap } }) => [
      resultOf(nap.images.loadImages(importMessages(engine, {}, Buffer.alloc(2000, 7)))),
      "archive",
    ],
  },
  "a registry that does not answer": {
    code: UNAVAILABLE,
    reason: "REGISTRY_UNREACHABLE",
    fail: ({ bench: { nap } }) => [
      all(nap.images.pullImage({ engine, image: "127.0.0.1:9/x:1" })),
      "127.0.0.1:9/x:1",
    ],
  },
};

/** Declares the cases. `open` gives their bench when the tests run. */
export function situationCases(open: () => DockerBench): void {
  let scene: Scene;

  before(async function () {
    this.timeout(60_000);
    const { bench, nap } = open();
    const [network, volume] = [bench.name("situation"), bench.name("situation")];
    await nap.networks.createNetwork({ engine, name: network, spec: {} });
    await nap.volumes.createVolume({ engine, name: volume, spec: {} });
    const source = { case: "volume" as const, value: { volume } };
    const running = await bench.start({
      networks: [{ network }],
      mounts: [{ target: "/v", source }],
    });
    const [stopped, paused] = [await bench.create({}), await bench.start({})];
    await nap.containers.pauseContainer({ engine, container: paused.id });
    scene = {
      bench,
      running: running.name,
      stopped: stopped.name,
      paused: paused.name,
      network,
      volume,
    };
  });

  after(async () => {
    const { bench, network, volume } = scene;
    await bench.tidy();
    await bench.nap.networks.removeNetwork({ engine, network });
    await bench.nap.volumes.removeVolume({ engine, volume });
  });

  for (const [name, { code, reason, fail }] of Object.entries(situations)) {
    it(`tells ${name} by ${reason}`, async () => {
      const [call, object] = fail(scene);
      const error = await failure(call);
      expect(error).to.include({ code, reason });
      expect(error.info?.domain).to.equal("nap.v1");
      expect(error.info?.metadata["engine"]).to.equal(engine);
      expect(error.message).to.include(`${engine}: `).and.include(object);
      if (code === FAILED_PRECONDITION) expect(error.subjects).not.to.deep.equal([]);
      if (code === UNAVAILABLE && error.retryAfterMillis !== undefined) {
        expect(error.retryAfterMillis).to.be.greaterThan(0);
      }
    });
  }
}

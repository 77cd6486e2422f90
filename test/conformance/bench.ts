/** What a conformance case gets. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Container, RunContainerResponse } from "../../gen/nap/v1/container_service_pb.js";
import type { ContainerSpecSchema } from "../../gen/nap/v1/container_spec_pb.js";
import type { ExitStatus } from "../../gen/nap/v1/types_pb.js";
import { OutputStream } from "../../gen/nap/v1/types_pb.js";
import type { RpcError } from "../support/client.js";
import { failure as failureOf } from "../support/client.js";
import type { TestDockerd } from "../support/engines/dockerd.js";
import type { Clients } from "../support/engines/nap.js";
import { imageSource } from "../support/requests/source.js";

export type SpecInit = Omit<MessageInitShape<typeof ContainerSpecSchema>, "source">;

/** What is around the engine. */
export type Host = Pick<TestDockerd, "initPid" | "registry">;

/** What came out of a container that has ended. */
export interface Ended {
  readonly id: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly exit: ExitStatus | undefined;
}

/** One engine behind a running server, and what a case made there. */
export class Bench {
  #made: (() => Promise<unknown>)[] = [];
  static #count = 0;
  /** What a case has seen, in a few words. */
  seen = "";

  constructor(
    readonly nap: Clients,
    readonly engine: string,
    /** An image of busybox that the engine has. */
    readonly image: string,
    /** The archive that the image was made of. */
    readonly rootfs: Buffer,
    /** A directory that the engine's host and this process both see under this path. */
    readonly hostDirectory: string,
    /** What is around the engine; cases that need it fail without. */
    readonly host?: Host,
  ) {}

  /** Runs a shell script on the engine's host, beside all containers, and gives what it prints. */
  async onHost(script: string, ...args: string[]): Promise<string> {
    if (this.host === undefined) throw new Error("this bench has no host");
    const enter = ["-t", String(this.host.initPid), "-a", "sh", "-c", script, "sh", ...args];
    return (await promisify(execFile)("nsenter", enter)).stdout.trimEnd();
  }

  /** Creates a network that is removed when the case is over. */
  async network(spec: object = {}): Promise<string> {
    const { nap, engine } = this;
    const name = this.name("network");
    await nap.networks.createNetwork({ engine, name, spec });
    this.cleanUp(() => nap.networks.removeNetwork({ engine, network: name }));
    return name;
  }

  /** Creates a volume that is removed when the case is over. */
  async volume(spec: object = {}): Promise<string> {
    const { nap, engine } = this;
    const name = this.name("volume");
    await nap.volumes.createVolume({ engine, name, spec });
    this.cleanUp(() => nap.volumes.removeVolume({ engine, volume: name, force: true }));
    return name;
  }

  /** A name that nothing else has. */
  name(what: string): string {
    return `${what}-${process.pid}-${Bench.#count++}`;
  }

  /** Has something removed when the case is over, whether it is still there or not. */
  cleanUp(remove: () => Promise<unknown>): void {
    this.#made.push(remove);
  }

  /** Ends a case. */
  async tidy(): Promise<void> {
    const removals = this.#made.toReversed();
    this.#made = [];
    for (const remove of removals) await remove().catch(() => undefined);
  }

  /** Removes a container when the case is over. */
  forget(container: string): void {
    const { engine } = this;
    this.cleanUp(() =>
      this.nap.containers.removeContainer({ engine, container, force: true, removeVolumes: true }),
    );
  }

  /** Creates a container that is removed when the case is over. */
  async create(spec: SpecInit, command: string[] = ["sleep", "60"]): Promise<Container> {
    const { container } = await this.nap.containers.createContainer({
      engine: this.engine,
      // A name of its own: the C library resolves no name with an underscore, as engines make up.
      name: this.name("container"),
      spec: this.#spec({ command: { arguments: command }, ...spec }),
    });
    if (container === undefined) throw new Error("no container came back");
    this.forget(container.id);
    return container;
  }

  /** Creates and starts a container. */
  async start(spec: SpecInit, command?: string[]): Promise<Container> {
    const { id } = await this.create(spec, command);
    await this.nap.containers.startContainer({ engine: this.engine, container: id });
    return this.get(id);
  }

  /** A container as it is now. */
  async get(container: string): Promise<Container> {
    const found = await this.nap.containers.getContainer({ engine: this.engine, container });
    if (found.container === undefined) throw new Error("no container came back");
    return found.container;
  }

  /** Runs a shell script in a new container to its end. */
  async run(spec: SpecInit, script: string): Promise<Ended> {
    return this.runImage(this.image, spec, ["sh", "-c", script]);
  }

  /** Runs a command in a new container of another image to its end. */
  async runImage(image: string, spec: SpecInit, command: string[]): Promise<Ended> {
    const events = this.nap.containers.runContainer({
      engine: this.engine,
      spec: this.#spec({ command: { arguments: command }, ...spec }, image),
    });
    const seen: RunContainerResponse[] = [];
    for await (const response of events) {
      seen.push(response);
      if (response.event.case === "created") this.forget(response.event.value.containerId);
    }
    return ended(seen);
  }

  /** Runs a shell script in a container that runs, and gives what it wrote. */
  async exec(container: string, script: string): Promise<string> {
    const { engine } = this;
    const exec = { command: ["sh", "-c", script] };
    const done = await this.nap.containers.execContainerSync({ engine, container, exec });
    const text = Buffer.concat([done.stdout, done.stderr]).toString();
    if (done.exit?.code !== 0) throw new Error(`${script}: exit ${done.exit?.code}: ${text}`);
    return text.trimEnd();
  }

  #spec(spec: SpecInit, image = this.image): MessageInitShape<typeof ContainerSpecSchema> {
    return { source: imageSource(image), ...spec } as MessageInitShape<typeof ContainerSpecSchema>;
  }
}

/**
 * Opens benches in the suite that is being declared, and tidies each after the test that opened it, also
 * where that has failed. Benches that hooks open before a test are left to those hooks.
 */
export function tidied(open: () => Bench): () => Bench {
  let opened: Bench[] = [];
  beforeEach(() => {
    opened = [];
  });
  afterEach(async () => {
    for (const bench of opened) await bench.tidy();
  });
  return () => {
    const bench = open();
    opened.push(bench);
    return bench;
  };
}

/** What a finished RunContainer stream says. */
export function ended(seen: readonly RunContainerResponse[]): Ended {
  const text = { [OutputStream.STDOUT]: "", [OutputStream.STDERR]: "" };
  let id = "";
  let exit: ExitStatus | undefined;
  for (const { event } of seen) {
    if (event.case === "created") id = event.value.containerId;
    if (event.case === "exit") exit = event.value;
    if (event.case !== "output") continue;
    for (const { stream, data } of event.value.chunks) {
      text[stream as keyof typeof text] += Buffer.from(data).toString();
    }
  }
  return { id, stdout: text[OutputStream.STDOUT], stderr: text[OutputStream.STDERR], exit };
}

/**
 * Awaits the failure of a call. That the engine declares a field or method unsupported is not the
 * failure that a case is about, and ends it as refused.
 */
export async function failure(outcome: Promise<unknown>): Promise<RpcError> {
  const error = await failureOf(outcome);
  if (error.reason.endsWith("_UNSUPPORTED")) throw error;
  return error;
}

/** Asks again until `probe` gives something, for at most half a minute. */
export async function eventually<T>(
  probe: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const end = Date.now() + 30_000;
  for (;;) {
    const found = await probe();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error("it did not come about within 30 s");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The configured engines, and the methods of EngineService that the server implements itself. */
import type { DescService } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { ContainerService } from "../../gen/nap/v1/container_service_pb.js";
import type { Engine as EngineMessage } from "../../gen/nap/v1/engine_service_pb.js";
import {
  EngineSchema,
  EngineService,
  EngineState,
  GetEngineCapabilitiesResponseSchema,
  GetEngineResponseSchema,
  ListEnginesResponseSchema,
} from "../../gen/nap/v1/engine_service_pb.js";
import { ImageService } from "../../gen/nap/v1/image_service_pb.js";
import { NetworkService } from "../../gen/nap/v1/network_service_pb.js";
import { VolumeService } from "../../gen/nap/v1/volume_service_pb.js";
import type { Connection, Engine, Methods } from "./engine.js";
import { NapError } from "../contract/errors.js";
import { supportEntries } from "../contract/unsupported.js";
import type { Identity } from "../auth/identity.js";
import { denied, matchesAny } from "../auth/identity.js";

/** The services of the contract, each with the engine's member that implements it. */
export const services = [
  { desc: ContainerService, member: "containers" },
  { desc: VolumeService, member: "volumes" },
  { desc: NetworkService, member: "networks" },
  { desc: ImageService, member: "images" },
  { desc: EngineService, member: "system" },
] as const satisfies readonly { desc: DescService; member: keyof Engine }[];

/** An engine that does not respond within this time is reported as unreachable. */
const probeMillis = 3000;

/** The configured engines by name. */
export class Engines {
  readonly #engines: ReadonlyMap<string, Engine>;
  readonly #defaultName: string | undefined;

  /** Without `defaultName` the default is the only engine; with several engines there is none. */
  constructor(engines: readonly Engine[], defaultName?: string) {
    const sorted = engines.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    this.#engines = new Map(sorted.map((engine) => [engine.name, engine]));
    this.#defaultName = defaultName ?? (engines.length === 1 ? engines[0]?.name : undefined);
  }

  /** All engines, in the order of their names. */
  get all(): Iterable<Engine> {
    return this.#engines.values();
  }

  /**
   * Returns the engine that a request names. Fails with ENGINE_REQUIRED, with PERMISSION_DENIED if the
   * identity may not use it, whether it exists or not, and with ENGINE_NOT_FOUND.
   */
  get(name: string, identity: Identity): Engine {
    const wanted = name === "" ? this.#defaultName : name;
    const known = [...this.#visible(identity)].map((engine) => engine.name).join(", ") || "none";
    if (wanted === undefined) {
      const message = `engine: is required, since there is no default engine (there are: ${known})`;
      throw new NapError("ENGINE_REQUIRED", message);
    }
    if (!matchesAny(identity.engines, wanted)) {
      throw denied(identity, `it may not use the engine "${wanted}"`);
    }
    const engine = this.#engines.get(wanted);
    if (engine === undefined) {
      const message = `there is no engine "${wanted}" (there are: ${known})`;
      throw new NapError("ENGINE_NOT_FOUND", message, { resource: wanted });
    }
    return engine;
  }

  /** The methods of EngineService that are the same for all engines. */
  readonly methods: Methods<typeof EngineService> = {
    listEngines: async (_request, { signal, identity }) => {
      const visible = this.#visible(identity);
      const engines = await Promise.all(visible.map((engine) => this.probe(engine, signal)));
      return create(ListEnginesResponseSchema, { engines });
    },

    getEngine: async (request, call) => {
      const engine = this.get(request.engine, call.identity);
      const connection = await engine.connect(call.signal, true);
      const answer = await engine.system?.getEngine?.(request, call);
      return create(GetEngineResponseSchema, {
        engine: this.#healthy(engine, connection),
        host: answer?.host,
      });
    },

    getEngineCapabilities: async (request, { signal, identity }) => {
      const engine = this.get(request.engine, identity);
      const { support } = await engine.connect(signal);
      const entries = supportEntries(support);
      const methods = [...this.#methodNames(engine)];
      const namesOf = (wanted: boolean): string[] =>
        methods.filter(({ present }) => present === wanted).map(({ name }) => name);
      return create(GetEngineCapabilitiesResponseSchema, {
        supportedMethods: namesOf(true),
        unsupportedMethods: namesOf(false),
        unsupportedFields: entries.filter(({ value }) => value === undefined),
        unsupportedValues: entries.filter(({ value }) => value !== undefined),
      });
    },
  };

  /** Returns the current state of an engine. Fails only if the call itself is cancelled. */
  async probe(engine: Engine, signal: AbortSignal): Promise<EngineMessage> {
    const timeout = AbortSignal.timeout(probeMillis);
    try {
      const connection = await engine.connect(AbortSignal.any([signal, timeout]), true);
      return this.#healthy(engine, connection);
    } catch (error) {
      signal.throwIfAborted();
      const state = EngineState.UNREACHABLE;
      const errorMessage = timeout.aborted
        ? `no answer within ${probeMillis} ms`
        : error instanceof Error
          ? error.message
          : String(error);
      return create(EngineSchema, { ...this.#identity(engine), state, errorMessage });
    }
  }

  /** Closes every engine. */
  async close(): Promise<void> {
    await Promise.all([...this.all].map((engine) => engine.close()));
  }

  #visible({ engines }: Identity): Engine[] {
    return [...this.all].filter(({ name }) => matchesAny(engines, name));
  }

  #healthy(engine: Engine, { version, apiVersion }: Connection): EngineMessage {
    const state = EngineState.HEALTHY;
    return create(EngineSchema, { ...this.#identity(engine), state, version, apiVersion });
  }

  #identity({ name, kind }: Engine): { name: string; kind: string; isDefault: boolean } {
    return { name, kind, isDefault: name === this.#defaultName };
  }

  *#methodNames(engine: Engine): Generator<{ name: string; present: boolean }> {
    for (const { desc, member } of services) {
      const own: object = desc === EngineService ? this.methods : {};
      for (const { name, localName } of desc.methods) {
        const present = localName in own || localName in (engine[member] ?? {});
        yield { name: `${desc.typeName}/${name}`, present };
      }
    }
  }
}

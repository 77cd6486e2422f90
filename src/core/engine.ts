/**
 * What an engine is: an object that implements the generated services.
 *
 * The generated messages are the domain model; there is no second set of types. An engine gives for
 * each service the methods that it has. A method takes the request, which has been validated and
 * checked against the engine's support table, and a {@link Call}; it returns the response, or an
 * async generator of responses. It fails with a `NapError`.
 *
 * A worked example, an engine that knows nothing but one volume:
 *
 * ```ts
 * const engine: Engine = {
 *   name: "example",
 *   kind: "example",
 *   connect: async () => ({ version: "1", apiVersion: "", support: supportOf([]) }),
 *   close: async () => {},
 *   volumes: {
 *     getVolume: async ({ volume: name }) => {
 *       if (name !== "only") throw new NapError("VOLUME_NOT_FOUND", `no volume ${name}`);
 *       return create(GetVolumeResponseSchema, { volume: { engine: "example", name } });
 *     },
 *   },
 * };
 * ```
 */
import type { DescMethod, MessageShape } from "@bufbuild/protobuf";
import type { ContainerService } from "../../gen/nap/v1/container_service_pb.js";
import type { EngineService } from "../../gen/nap/v1/engine_service_pb.js";
import type { ImageService } from "../../gen/nap/v1/image_service_pb.js";
import type { NetworkService } from "../../gen/nap/v1/network_service_pb.js";
import type { VolumeService } from "../../gen/nap/v1/volume_service_pb.js";
import type { Identity } from "../auth/identity.js";
import type { Support } from "../contract/unsupported.js";

/** What every method gets beside its request. */
export interface Call {
  /**
   * Aborted when the client cancels, its deadline passes, or the server stops. Every wait of a read
   * or a stream takes it. A change is not cut short by it once it has been sent to the engine.
   */
  readonly signal: AbortSignal;
  /** Who calls. */
  readonly identity: Identity;
}

type Input<M extends Pick<DescMethod, "input">> = MessageShape<M["input"]>;
type Output<M extends Pick<DescMethod, "output">> = MessageShape<M["output"]>;

/** The function that implements one method, by the method's kind. */
export type Method<M extends Pick<DescMethod, "input" | "output" | "methodKind">> = {
  unary: (request: Input<M>, call: Call) => Promise<Output<M>>;
  server_streaming: (request: Input<M>, call: Call) => AsyncGenerator<Output<M>>;
  client_streaming: (requests: AsyncIterable<Input<M>>, call: Call) => Promise<Output<M>>;
  bidi_streaming: (requests: AsyncIterable<Input<M>>, call: Call) => AsyncGenerator<Output<M>>;
}[M["methodKind"]];

/** The methods of a service that an engine has. A method that is absent answers UNIMPLEMENTED. */
export type Methods<
  S extends { method: Record<string, Pick<DescMethod, "input" | "output" | "methodKind">> },
> = {
  readonly [K in keyof S["method"]]?: Method<S["method"][K]>;
};

/** What a connected engine says of itself. It holds until the connection is lost. */
export interface Connection {
  /** The engine's version. */
  readonly version: string;
  /** The version of the interface spoken with it; empty where it has none. */
  readonly apiVersion: string;
  /** What it cannot do. */
  readonly support: Support;
}

/** A container engine. */
export interface Engine {
  /** The name under which requests name it. */
  readonly name: string;
  /** The kind of engine, for example `docker`. */
  readonly kind: string;

  readonly containers?: Methods<typeof ContainerService>;
  readonly volumes?: Methods<typeof VolumeService>;
  readonly networks?: Methods<typeof NetworkService>;
  readonly images?: Methods<typeof ImageService>;
  /** ListEngines and GetEngineCapabilities are the registry's; GetEngine fills `host` alone. */
  readonly system?: Methods<typeof EngineService>;

  /**
   * Makes sure that the engine answers, connecting anew where it must. Without `fresh` a connection
   * that was good last time is taken as good. Fails with ENGINE_UNREACHABLE.
   */
  connect(signal: AbortSignal, fresh?: boolean): Promise<Connection>;

  /** How many events it remembers for cursors. Absent: it remembers none. */
  readonly journalEvents?: () => number;

  /** Closes all connections. Calls under way fail. */
  close(): Promise<void>;
}

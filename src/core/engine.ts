/**
 * The interface of an engine: an object that implements the generated services.
 *
 * The generated messages are the domain model; there is no second set of types. An engine provides for
 * each service the methods that it supports. A method takes the request, which has been validated and
 * checked against the engine's support table, and a {@link Call}; it returns the response, or an async
 * generator of responses. It fails with a `NapError`.
 *
 * For example, an engine that has nothing but one volume:
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
import type { UnsupportedFeatures } from "../contract/unsupported.js";

/** The context that every method gets with its request. */
export interface Call {
  /**
   * Aborted when the client cancels, its deadline passes, or the server shuts down. Every wait of a read
   * or a stream takes it. It does not interrupt a change that has been sent to the engine.
   */
  readonly signal: AbortSignal;
  /** The identity of the caller. */
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

/** The methods of a service that an engine supports. A method that is absent fails with UNIMPLEMENTED. */
export type Methods<
  S extends { method: Record<string, Pick<DescMethod, "input" | "output" | "methodKind">> },
> = {
  readonly [K in keyof S["method"]]?: Method<S["method"][K]>;
};

/** The properties of a connected engine. They are valid until the connection is lost. */
export interface Connection {
  /** The engine's version. */
  readonly version: string;
  /** The version of the engine's API in use; empty if it has none. */
  readonly apiVersion: string;
  /** The fields and values that it does not support. */
  readonly support: UnsupportedFeatures;
}

/** A container engine. */
export interface Engine {
  /** The name that requests use for it. */
  readonly name: string;
  /** The kind of engine, for example `docker`. */
  readonly kind: string;

  readonly containers?: Methods<typeof ContainerService>;
  readonly volumes?: Methods<typeof VolumeService>;
  readonly networks?: Methods<typeof NetworkService>;
  readonly images?: Methods<typeof ImageService>;
  /** ListEngines and GetEngineCapabilities are implemented by `Engines`; GetEngine only fills `host`. */
  readonly system?: Methods<typeof EngineService>;

  /**
   * Connects to the engine. Without `fresh` an existing connection is reused without a check. Fails with
   * ENGINE_UNREACHABLE.
   */
  connect(signal: AbortSignal, fresh?: boolean): Promise<Connection>;

  /** Returns the number of events in its journal. Absent if it has no journal. */
  readonly journalEvents?: () => number;

  /** Closes all connections. Calls in progress fail. */
  close(): Promise<void>;
}

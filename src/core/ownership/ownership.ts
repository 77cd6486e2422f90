/**
 * Wraps any engine for an identity that sees only the objects that it created itself.
 *
 * References in requests are resolved among the identity's own objects and replaced by full ids, so the
 * engine itself resolves nothing. Objects of other owners are removed from responses, streams and errors.
 */
import type { DescMessage, DescMethod, DescService, Message } from "@bufbuild/protobuf";
import { clone, create } from "@bufbuild/protobuf";
import type {
  StreamContainerStatsResponse,
  WatchContainersResponse,
} from "../../../gen/nap/v1/container_service_pb.js";
import { ContainerService } from "../../../gen/nap/v1/container_service_pb.js";
import type { StreamEventsResponse } from "../../../gen/nap/v1/engine_service_pb.js";
import { EngineService } from "../../../gen/nap/v1/engine_service_pb.js";
import { ImageService } from "../../../gen/nap/v1/image_service_pb.js";
import type { Network } from "../../../gen/nap/v1/network_service_pb.js";
import { NetworkService } from "../../../gen/nap/v1/network_service_pb.js";
import type { ContainerLink, LabelFilter } from "../../../gen/nap/v1/types_pb.js";
import type { Volume } from "../../../gen/nap/v1/volume_service_pb.js";
import { VolumeService } from "../../../gen/nap/v1/volume_service_pb.js";
import type { Call, Engine } from "../engine.js";
import { NapError } from "../../contract/errors.js";
import type { Identity } from "../../auth/identity.js";
import { denied } from "../../auth/identity.js";
import type { Resolved } from "./errors.js";
import { ownError } from "./errors.js";
import { OwnedObjects, ownLabelFilter } from "./objects.js";
import type { Reference } from "./references.js";
import { referencesIn } from "./references.js";
import { ownEvents, ownMeasured, ownWatched } from "./streams.js";

/** A method without its types. */
type Untyped = (
  input: Message | AsyncIterable<Message>,
  call: Call,
) => Promise<Message> | AsyncGenerator<Message>;
type UntypedMethods = Readonly<Record<string, Untyped | undefined>>;

/** The methods whose requests select objects by a filter with labels. */
const selecting: ReadonlySet<string> = new Set([
  "ListContainers",
  "ListNetworks",
  "ListVolumes",
  "StreamContainerStats",
  "WatchContainers",
]);

/** Methods that affect objects of all owners. */
function affectsAllOwners({ name }: DescMethod): boolean {
  return name.startsWith("Prune") || name === "GetDiskUsage";
}

/** Returns the engine as the identity sees it. Its methods must be called for that identity only. */
export function scopeToOwner(engine: Engine, identity: Identity): Engine {
  const wrapped = (service: DescService, methods: object | undefined): object =>
    Object.fromEntries(
      service.methods.flatMap((method) => {
        const inner = (methods as UntypedMethods | undefined)?.[method.localName];
        return inner === undefined
          ? []
          : [[method.localName, wrap(engine, identity, method, inner)]];
      }),
    );
  const { name, kind } = engine;
  return {
    name,
    kind,
    containers: wrapped(ContainerService, engine.containers),
    volumes: wrapped(VolumeService, engine.volumes),
    networks: wrapped(NetworkService, engine.networks),
    images: wrapped(ImageService, engine.images),
    system: wrapped(EngineService, engine.system),
    connect: (signal, fresh) => engine.connect(signal, fresh),
    close: () => engine.close(),
  };
}

function wrap(engine: Engine, identity: Identity, method: DescMethod, inner: Untyped): Untyped {
  const { methodKind, input: desc } = method;
  const streams = methodKind === "bidi_streaming" || methodKind === "client_streaming";
  return (input, call) => {
    if (affectsAllOwners(method)) {
      throw denied(identity, `${method.name} is about what is not its own, too`);
    }
    const objects = new OwnedObjects(engine, call);
    const resolved: Resolved[] = [];
    const prepare = (request: Message): Promise<Message> =>
      prepared(objects, method, desc, request, resolved);
    const ready = async (): Promise<Message | AsyncIterable<Message>> =>
      streams ? each(input as AsyncIterable<Message>, prepare) : prepare(input as Message);
    const failed = async (error: unknown): Promise<unknown> => {
      const users = error instanceof NapError ? (error.details.users ?? []) : [];
      return ownError(error, resolved, await ownAmong(objects, users));
    };
    if (methodKind === "unary" || methodKind === "client_streaming") {
      return unary(inner, ready, call, objects, failed);
    }
    return streamed(inner, ready, call, objects, method, failed);
  };
}

async function unary(
  inner: Untyped,
  ready: () => Promise<Message | AsyncIterable<Message>>,
  call: Call,
  objects: OwnedObjects,
  failed: (error: unknown) => Promise<unknown>,
): Promise<Message> {
  try {
    return await ownAnswer(objects, await (inner(await ready(), call) as Promise<Message>));
  } catch (error) {
    throw await failed(error);
  }
}

async function* streamed(
  inner: Untyped,
  ready: () => Promise<Message | AsyncIterable<Message>>,
  call: Call,
  objects: OwnedObjects,
  { name }: DescMethod,
  failed: (error: unknown) => Promise<unknown>,
): AsyncGenerator<Message> {
  try {
    const answers = inner(await ready(), call) as AsyncGenerator<Message>;
    if (name === "StreamEvents") {
      yield* ownEvents(answers as AsyncGenerator<StreamEventsResponse>, objects);
    } else if (name === "WatchContainers") {
      const owner = call.identity.name;
      yield* ownWatched(answers as AsyncGenerator<WatchContainersResponse>, owner);
    } else if (name === "StreamContainerStats") {
      yield* ownMeasured(answers as AsyncGenerator<StreamContainerStatsResponse>, objects);
    } else {
      yield* answers;
    }
  } catch (error) {
    throw await failed(error);
  }
}

async function* each(
  requests: AsyncIterable<Message>,
  prepare: (request: Message) => Promise<Message>,
): AsyncGenerator<Message> {
  for await (const request of requests) yield await prepare(request);
}

/** Returns the request with every reference resolved, and appends the replacements to `resolved`. */
async function prepared(
  objects: OwnedObjects,
  method: DescMethod,
  desc: DescMessage,
  given: Message,
  resolved: Resolved[],
): Promise<Message> {
  const selects = selecting.has(method.name);
  if (!selects && referencesIn(desc, given).next().done) return given;
  const request = clone(desc, given);
  if (selects) selectOwn(desc, request, objects.call.identity.name);
  for (const reference of referencesIn(desc, request)) {
    const used = await resolve(objects, reference);
    resolved.push({ kind: reference.kind, given: reference.text, used });
  }
  if (method.name === "StartContainer" || method.name === "RestartContainer") {
    await requireNetworks(objects, (request as Message & { container: string }).container);
  }
  return request;
}

/**
 * Built-in networks that a container may be attached to by every identity that may set the field. They
 * have no owner, so they cannot be inspected, and no network with such a name can be created.
 */
const attachable = ["bridge", "none"];
const predefined = [...attachable, "host"];
const sharedNetworks: ReadonlyMap<string, readonly string[]> = new Map([
  ["nap.v1.NetworkAttachment", attachable],
  ["nap.v1.ConnectContainerRequest", attachable],
  ["nap.v1.DisconnectContainerRequest", attachable],
  // The network of a build is a mode, and "default" is one of the modes.
  ["nap.v1.BuildImageOpen", [...predefined, "default"]],
]);

/** Replaces a reference by the full id or name, and returns that. */
async function resolve(objects: OwnedObjects, reference: Reference): Promise<string> {
  const { kind, text, message } = reference;
  if (kind === "volume") return (await objects.volume(text)).name;
  if (kind === "network") {
    if (sharedNetworks.get(message.$typeName)?.includes(text)) return text;
    const { id } = await objects.network(text);
    reference.replace(id);
    return id;
  }
  const { id, name } = await objects.container(text);
  if (message.$typeName === "nap.v1.ContainerLink") {
    // On a user-defined network a link is an alias, and engines accept only names in it.
    const link = message as ContainerLink;
    link.alias ??= name;
    reference.replace(name);
    return name;
  }
  reference.replace(id);
  return id;
}

/**
 * Before its first start an engine stores a container's networks by name, and another owner may have
 * created a network of that name since.
 */
async function requireNetworks(objects: OwnedObjects, container: string): Promise<void> {
  const endpoints = (await objects.containerWithId(container))?.endpoints ?? [];
  for (const { network, networkId } of endpoints) {
    if (networkId === "" && !predefined.includes(network)) await objects.network(network);
  }
}

/** Restricts the filter of a request to the identity's own objects. */
function selectOwn(desc: DescMessage, request: Message, owner: string): void {
  const field = desc.fields.find(({ name }) => name === "filter");
  if (field?.message === undefined) throw new Error(`${desc.typeName} has no filter`);
  const selecting = request as { filter?: Message & { labels: LabelFilter[] } };
  selecting.filter ??= create(field.message) as Message & { labels: LabelFilter[] };
  selecting.filter.labels.push(ownLabelFilter(owner));
}

/** The fields of a response that contain objects. */
interface OwnedParts {
  containers?: { owner: string }[];
  volumes?: Volume[];
  networks?: Network[];
  network?: Network;
  volume?: Volume;
}

/** Returns a response without the objects of other owners. */
async function ownAnswer(objects: OwnedObjects, answer: Message): Promise<Message> {
  const owner = objects.call.identity.name;
  const parts = answer as Message & OwnedParts;
  // Creating a volume that exists returns the existing one.
  if (parts.volume !== undefined && parts.volume.owner !== owner) {
    const { name } = parts.volume;
    throw new NapError("NAME_IN_USE", `${name}: the name is taken`, { resource: name });
  }
  const isOwn = (each: { owner: string }): boolean => each.owner === owner;
  if (parts.containers) parts.containers = parts.containers.filter(isOwn);
  if (parts.volumes) parts.volumes = parts.volumes.filter(isOwn);
  if (parts.networks) parts.networks = parts.networks.filter(isOwn);
  const networks = [...(parts.networks ?? []), ...(parts.network ? [parts.network] : [])];
  if (networks.some(({ endpoints }) => endpoints.length > 0)) {
    const own = await objects.containerIds();
    for (const network of networks) {
      network.endpoints = network.endpoints.filter(({ containerId }) => own.has(containerId));
    }
  }
  return answer;
}

/** Returns which of some containers, given by ids or names, are the identity's own. */
async function ownAmong(
  objects: OwnedObjects,
  users: readonly string[],
): Promise<(container: string) => boolean> {
  const own = new Set<string>();
  for (const user of users) {
    const found = await objects.container(user).catch(() => undefined);
    if (found !== undefined) own.add(user);
  }
  return (user) => own.has(user);
}

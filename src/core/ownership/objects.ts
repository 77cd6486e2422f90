/**
 * Finds the containers, volumes and networks of one identity on an engine. Objects of other owners fail
 * with the same error as objects that do not exist.
 */
import { create } from "@bufbuild/protobuf";
import type { Container } from "../../../gen/nap/v1/container_service_pb.js";
import {
  GetContainerRequestSchema,
  ListContainersRequestSchema,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { Network } from "../../../gen/nap/v1/network_service_pb.js";
import {
  GetNetworkRequestSchema,
  ListNetworksRequestSchema,
} from "../../../gen/nap/v1/network_service_pb.js";
import { LabelFilterSchema } from "../../../gen/nap/v1/types_pb.js";
import type { LabelFilter } from "../../../gen/nap/v1/types_pb.js";
import type { Volume } from "../../../gen/nap/v1/volume_service_pb.js";
import {
  GetVolumeRequestSchema,
  ListVolumesRequestSchema,
} from "../../../gen/nap/v1/volume_service_pb.js";
import type { Call, Engine } from "../engine.js";
import { NapError, undefinedIf } from "../../contract/errors.js";
import { ownerLabel } from "../../contract/reserved-labels.js";
import type { OwnedKind } from "./references.js";

const notFoundKinds = {
  container: "CONTAINER_NOT_FOUND",
  volume: "VOLUME_NOT_FOUND",
  network: "NETWORK_NOT_FOUND",
} as const;

const pageSize = 1000;

/** Returns the label filter that selects the objects of an identity. */
export function ownLabelFilter(identity: string): LabelFilter {
  return create(LabelFilterSchema, { key: ownerLabel, value: identity });
}

/** Returns the error for an object that does not exist or belongs to another owner. */
export function notFound(kind: OwnedKind, reference: string): NapError {
  const message = `${reference}: there is no such ${kind}`;
  return new NapError(notFoundKinds[kind], message, { resource: reference });
}

/** The objects of the identity that makes a call. */
export class OwnedObjects {
  constructor(
    readonly engine: Engine,
    readonly call: Call,
  ) {}

  get #identity(): string {
    return this.call.identity.name;
  }

  /** Returns a container by its id, its name or a unique prefix of its id. */
  async container(reference: string): Promise<Container> {
    const whole = isWholeId(reference) ? await this.containerWithId(reference) : undefined;
    return whole ?? resolveReference("container", reference, (filter) => this.#containers(filter));
  }

  /** Returns a network by its id, its name or a unique prefix of its id. */
  network(reference: string): Promise<Network> {
    return resolveReference("network", reference, (filter) => this.#networks(filter));
  }

  /** Returns a volume by its name. */
  async volume(name: string): Promise<Volume> {
    const volume = await this.#volumeNamed(name);
    if (volume?.owner !== this.#identity) throw notFound("volume", name);
    return volume;
  }

  /** Returns the ids of all containers. */
  async containerIds(): Promise<Set<string>> {
    return new Set((await this.#containers({})).map(({ id }) => id));
  }

  /** All networks. */
  networks(): Promise<Network[]> {
    return this.#networks({});
  }

  /** All volumes. */
  async volumes(): Promise<Volume[]> {
    const filter = { labels: [ownLabelFilter(this.#identity)] };
    const { volumes: methods, name: engine } = this.engine;
    const all = await pages(async (pageToken) => {
      const request = create(ListVolumesRequestSchema, { engine, filter, pageSize, pageToken });
      const answer = await methods?.listVolumes?.(request, this.call);
      return { items: answer?.volumes ?? [], nextPageToken: answer?.nextPageToken ?? "" };
    });
    return all.filter(({ owner }) => owner === this.#identity);
  }

  /** Returns a container by its full id, or undefined if it was removed or belongs to another owner. */
  async containerWithId(id: string): Promise<Container | undefined> {
    const { containers, name: engine } = this.engine;
    const request = create(GetContainerRequestSchema, { engine, container: id });
    const looked = containers?.getContainer?.(request, this.call);
    const found = looked && (await undefinedIf("CONTAINER_NOT_FOUND", looked))?.container;
    return found?.id === id && found.owner === this.#identity ? found : undefined;
  }

  /** Returns a network by its full id, or undefined if it was removed or belongs to another owner. */
  async networkWithId(id: string): Promise<Network | undefined> {
    const { networks, name: engine } = this.engine;
    const request = create(GetNetworkRequestSchema, { engine, network: id });
    const looked = networks?.getNetwork?.(request, this.call);
    const found = looked && (await undefinedIf("NETWORK_NOT_FOUND", looked))?.network;
    return found?.id === id && found.owner === this.#identity ? found : undefined;
  }

  async #volumeNamed(name: string): Promise<Volume | undefined> {
    const { volumes, name: engine } = this.engine;
    const request = create(GetVolumeRequestSchema, { engine, volume: name });
    const looked = volumes?.getVolume?.(request, this.call);
    return looked && (await undefinedIf("VOLUME_NOT_FOUND", looked))?.volume;
  }

  async #containers(names: NameFilter): Promise<Container[]> {
    const filter = { ...names, labels: [ownLabelFilter(this.#identity)] };
    const { containers: methods, name: engine } = this.engine;
    const all = await pages(async (pageToken) => {
      const request = create(ListContainersRequestSchema, { engine, filter, pageSize, pageToken });
      const answer = await methods?.listContainers?.(request, this.call);
      return { items: answer?.containers ?? [], nextPageToken: answer?.nextPageToken ?? "" };
    });
    return all.filter(({ owner }) => owner === this.#identity);
  }

  async #networks(names: NameFilter): Promise<Network[]> {
    const filter = { ...names, labels: [ownLabelFilter(this.#identity)] };
    const { networks: methods, name: engine } = this.engine;
    const all = await pages(async (pageToken) => {
      const request = create(ListNetworksRequestSchema, { engine, filter, pageSize, pageToken });
      const answer = await methods?.listNetworks?.(request, this.call);
      return { items: answer?.networks ?? [], nextPageToken: answer?.nextPageToken ?? "" };
    });
    return all.filter(({ owner }) => owner === this.#identity);
  }
}

function isWholeId(reference: string): boolean {
  return /^[0-9a-f]{64}$/.test(reference);
}

/** Selects objects of a list by name. */
interface NameFilter {
  readonly names?: string[];
}

async function pages<T>(
  page: (pageToken: string) => Promise<{ items: T[]; nextPageToken: string }>,
): Promise<T[]> {
  const all: T[] = [];
  let token = "";
  do {
    const { items, nextPageToken } = await page(token);
    all.push(...items);
    token = nextPageToken;
  } while (token !== "");
  return all;
}

/** Resolves a reference as engines do: by full id, else by name, else by a prefix of the id. */
async function resolveReference<T extends { readonly id: string; readonly name: string }>(
  kind: "container" | "network",
  reference: string,
  list: (names: NameFilter) => Promise<T[]>,
): Promise<T> {
  const all = await list(/^[0-9a-f]+$/.test(reference) ? {} : { names: [reference] });
  const whole =
    all.find(({ id }) => id === reference) ?? all.find(({ name }) => name === reference);
  if (whole !== undefined) return whole;
  const [one, another] = all.filter(({ id }) => id.startsWith(reference));
  if (another !== undefined) {
    const message = `${reference}: more than one ${kind} has an id that begins so`;
    throw new NapError("AMBIGUOUS_ID", message, { resource: reference });
  }
  if (one === undefined) throw notFound(kind, reference);
  return one;
}

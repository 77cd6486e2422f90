/** Filters the streams of an engine to the identity's own objects. */
import type {
  ContainerStats,
  StreamContainerStatsResponse,
  WatchContainersResponse,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { Event, StreamEventsResponse } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import { undefinedIf } from "../../contract/errors.js";
import type { OwnedObjects } from "./objects.js";
import { timestampNanos } from "../../lib/time.js";

/** A stream in which most events are left out gets a new cursor after this number of events. */
const cursorEvery = 2048;
/** The maximum number of containers remembered, so that the last event of a removed one is still sent. */
const mostContainers = 4096;

/** Yields the changes of the identity's own containers; the engine was asked for no others. */
export async function* ownWatched(
  changes: AsyncGenerator<WatchContainersResponse>,
  owner: string,
): AsyncGenerator<WatchContainersResponse> {
  for await (const change of changes) {
    const { event } = change;
    if (event.case !== "container" || event.value.owner === owner) yield change;
  }
}

/** Yields the measurements of the identity's own containers; the engine was asked for no others. */
export async function* ownMeasured(
  samples: AsyncGenerator<StreamContainerStatsResponse>,
  objects: OwnedObjects,
): AsyncGenerator<StreamContainerStatsResponse> {
  const own = new OwnContainers(objects);
  for await (const sample of samples) {
    if (sample.event.case === "batch") {
      const batch = sample.event.value;
      const kept: ContainerStats[] = [];
      for (const each of batch.stats) if (await own.has(each.containerId)) kept.push(each);
      batch.stats = kept;
    }
    yield sample;
  }
}

/**
 * Yields the events of the identity's own containers, volumes and networks. Engines report the owner of
 * containers only. The owners of volumes and networks are listed when the stream begins, and looked up for
 * later ones; those removed before the lookup are left out.
 */
export async function* ownEvents(
  answers: AsyncGenerator<StreamEventsResponse>,
  objects: OwnedObjects,
): AsyncGenerator<StreamEventsResponse> {
  const filter = new EventFilter(objects);
  let skipped = 0;
  for await (const answer of answers) {
    await filter.begin();
    if (answer.event.case !== "batch") {
      yield answer;
      continue;
    }
    const batch = answer.event.value;
    const { length } = batch.events;
    const events: Event[] = [];
    for (const event of batch.events) if (await filter.passes(event)) events.push(event);
    batch.events = events;
    skipped = events.length > 0 ? 0 : skipped + length;
    // An engine sends a response without events to update the cursor.
    if (events.length === 0 && length > 0 && skipped < cursorEvery) continue;
    skipped = 0;
    yield answer;
  }
}

/** The ids of own containers that have had events. */
class OwnContainers {
  readonly #known = new Set<string>();

  constructor(readonly objects: OwnedObjects) {}

  add(id: string): void {
    this.#known.delete(id);
    this.#known.add(id);
    const [oldest] = this.#known;
    if (this.#known.size > mostContainers && oldest !== undefined) this.#known.delete(oldest);
  }

  async has(id: string): Promise<boolean> {
    if (this.#known.has(id)) return true;
    if ((await this.objects.containerWithId(id)) === undefined) return false;
    this.add(id);
    return true;
  }
}

class EventFilter {
  readonly #containers: OwnContainers;
  /**
   * The creation times of own volumes and networks; events of an earlier object of the same name are left
   * out.
   */
  readonly #made = new Map<string, bigint>();
  #begun = false;

  constructor(readonly objects: OwnedObjects) {
    this.#containers = new OwnContainers(objects);
  }

  async begin(): Promise<void> {
    if (this.#begun) return;
    this.#begun = true;
    for (const id of await this.objects.containerIds()) this.#containers.add(id);
    for (const volume of await this.objects.volumes()) {
      this.#note(EventResource.VOLUME, volume.name, volume);
    }
    for (const network of await this.objects.networks()) {
      this.#note(EventResource.NETWORK, network.id, network);
    }
  }

  async passes(event: Event): Promise<boolean> {
    const { resource, resourceId: id, owner, attributes } = event;
    if (resource === EventResource.CONTAINER) {
      if (owner !== this.objects.call.identity.name) return false;
      this.#containers.add(id);
      return true;
    }
    // EVENTS_LOST is sent to every identity; it names no objects.
    if (event.action === EventAction.EVENTS_LOST) return true;
    if (resource !== EventResource.VOLUME && resource !== EventResource.NETWORK) return false;
    const made = this.#made.get(key(resource, id)) ?? (await this.#lookUp(resource, id));
    if (made === undefined) return false;
    if (event.time !== undefined && timestampNanos(event.time) < made) return false;
    if (event.action === EventAction.REMOVE) this.#made.delete(key(resource, id));
    const { container } = attributes;
    return container === undefined || this.#containers.has(container);
  }

  async #lookUp(resource: EventResource, id: string): Promise<bigint | undefined> {
    const found =
      resource === EventResource.NETWORK
        ? await this.objects.networkWithId(id)
        : await undefinedIf("VOLUME_NOT_FOUND", this.objects.volume(id));
    return found && this.#note(resource, id, found);
  }

  #note(resource: EventResource, id: string, { createTime }: WithCreateTime): bigint {
    const made = createTime === undefined ? 0n : timestampNanos(createTime);
    this.#made.set(key(resource, id), made);
    return made;
  }
}

type WithCreateTime = { readonly createTime?: Parameters<typeof timestampNanos>[0] | undefined };

function key(resource: EventResource, id: string): string {
  return `${resource} ${id}`;
}

/**
 * The containers, volumes and networks of a dockerd, from its lists and its events. After a gap in the
 * events, comparing the lists yields synthetic events for what changed.
 *
 * Several changes during the gap are reported as one.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { Event } from "../../../../gen/nap/v1/engine_service_pb.js";
import {
  EventAction,
  EventResource,
  EventSchema,
} from "../../../../gen/nap/v1/engine_service_pb.js";
import { undefinedIf } from "../../../contract/errors.js";
import { ownerOf, stripInternalLabels } from "../../../contract/reserved-labels.js";
import { mapInParallel } from "../../../lib/parallel.js";
import { timestampNanos, timestampOf, timestampOfNanos } from "../../../lib/time.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer, listContainers } from "../containers/reads.js";
import { exitOf, healthOf, summaryName } from "../../docker-http/convert/container/container.js";
import type {
  ContainerJson,
  ContainerSummaryJson,
  NetworkJson,
  StringMap,
  VolumeJson,
} from "../../docker-http/json.js";

/** The last known state of a container. */
interface KnownContainer {
  name: string;
  /** The attributes of its events: its labels, image and name. */
  attributes: StringMap;
  owner: string;
  /** Its process runs, or is paused. */
  live: boolean;
  paused: boolean;
  health: string | undefined;
  /** When it was last seen to start or to end, in nanoseconds since 1970. */
  changed: bigint;
}

/** The lists of a dockerd at one time. */
interface InventoryLists {
  readonly containers: readonly ContainerSummaryJson[];
  /** The attributes of volumes and networks by id. */
  readonly volumes: ReadonlyMap<string, StringMap>;
  readonly networks: ReadonlyMap<string, StringMap>;
}

type EventInit = Omit<MessageInitShape<typeof EventSchema>, "$typeName">;

/** The containers, volumes and networks of one dockerd. */
export class Inventory {
  readonly #docker: DockerConnection;
  readonly #containers = new Map<string, KnownContainer>();
  readonly #volumes = new Map<string, StringMap>();
  readonly #networks = new Map<string, StringMap>();
  #filled = false;

  constructor(docker: DockerConnection) {
    this.#docker = docker;
  }

  /**
   * Records an event. Returns a synthetic event for the container's creation if that was never received,
   * because dockerd no longer stored it after a gap.
   */
  record(event: Event): Event | undefined {
    const { resource, action, resourceId: id } = event;
    const isContainer = resource === EventResource.CONTAINER;
    const isUnseen = isContainer && this.#filled && !this.#containers.has(id);
    this.#record(event);
    if (!isUnseen || !existedBefore(action)) return undefined;
    const { engine, time, resourceName, attributes, owner } = event;
    return create(EventSchema, {
      engine,
      time,
      resource,
      resourceId: id,
      resourceName,
      attributes,
      owner,
      action: EventAction.CREATE,
      engineAction: "create",
      synthetic: true,
    });
  }

  #record({ resource, action, resourceId: id, attributes, owner, ...event }: Event): void {
    if (resource === EventResource.VOLUME) noteExistence(this.#volumes, id, action, attributes);
    if (resource === EventResource.NETWORK) noteExistence(this.#networks, id, action, attributes);
    if (resource !== EventResource.CONTAINER) return;
    if (action === EventAction.REMOVE) {
      this.#containers.delete(id);
      return;
    }
    const changed = event.time === undefined ? 0n : timestampNanos(event.time);
    const known =
      this.#containers.get(id) ?? newcomer(event.resourceName, attributes, owner, changed);
    this.#containers.set(id, known);
    known.name = event.resourceName;
    if (action === EventAction.START || action === EventAction.EXIT) {
      Object.assign(known, { live: action === EventAction.START, paused: false, changed });
      known.health = undefined;
    }
    if (action === EventAction.PAUSE) known.paused = true;
    if (action === EventAction.UNPAUSE) known.paused = false;
    if (action === EventAction.HEALTH_STATUS) {
      known.health = event.engineAction.split(": ")[1];
    }
  }

  /**
   * Reads the lists on the first call, and with `missed` returns synthetic events for what changed since
   * the last event. `now` is the engine's time before it is asked, in nanoseconds since 1970.
   */
  async reconcile(missed: boolean, now: bigint, signal: AbortSignal): Promise<Event[]> {
    if (this.#filled && !missed) return [];
    const lists = await this.#list(signal);
    if (this.#filled) return this.#differences(lists, now, signal);
    this.#fill(lists, now);
    this.#filled = true;
    return [];
  }

  #fill({ containers, volumes, networks }: InventoryLists, now: bigint): void {
    this.#containers.clear();
    for (const json of containers) {
      const { Labels, Image, State, Status } = json;
      const name = summaryName(json);
      const attributes = { ...stripInternalLabels(Labels ?? {}), image: Image, name };
      this.#containers.set(json.Id, {
        ...newcomer(name, attributes, ownerOf(Labels), now),
        live: State === "running" || State === "paused",
        paused: State === "paused",
        health: /\((?:health: )?(starting|healthy|unhealthy)\)/.exec(Status)?.[1],
      });
    }
    replaceAll(this.#volumes, volumes);
    replaceAll(this.#networks, networks);
  }

  async #list(signal: AbortSignal): Promise<InventoryLists> {
    const { api } = this.#docker;
    const [containers, volumes, networks] = await Promise.all([
      listContainers(this.#docker, { all: true }, signal),
      api.json<{ Volumes: VolumeJson[] | null }>({ path: "/volumes" }, signal),
      api.json<NetworkJson[]>({ path: "/networks" }, signal),
    ]);
    const volumeList = volumes.body.Volumes ?? [];
    return {
      containers,
      volumes: new Map(volumeList.map(({ Name, Driver }) => [Name, { driver: Driver }])),
      networks: new Map(
        networks.body.map(({ Id, Name, Driver }) => [Id, { name: Name, type: Driver }]),
      ),
    };
  }

  async #differences(lists: InventoryLists, now: bigint, signal: AbortSignal): Promise<Event[]> {
    const found: EventInit[] = [
      ...existence(EventResource.NETWORK, this.#networks, lists.networks),
      ...existence(EventResource.VOLUME, this.#volumes, lists.volumes),
    ];
    const listed = new Set(lists.containers.map(({ Id }) => Id));
    const inspected = await mapInParallel(lists.containers, ({ Id }) =>
      undefinedIf("CONTAINER_NOT_FOUND", inspectContainer(this.#docker, Id, signal)),
    );
    for (const [id, known] of this.#containers) {
      if (listed.has(id)) continue;
      const about = { resource: EventResource.CONTAINER, resourceId: id, ...subject(known) };
      // The exit status was lost.
      if (known.live) found.push({ ...about, action: EventAction.EXIT, engineAction: "die" });
      found.push({ ...about, action: EventAction.REMOVE, engineAction: "destroy" });
    }
    for (const json of inspected) {
      if (json === undefined) continue;
      found.push(...containerDifferences(json, this.#containers.get(json.Id)));
    }
    const time = timestampOfNanos(now);
    const engine = this.#docker.name;
    const events = found.map((event) =>
      create(EventSchema, { engine, time, ...event, synthetic: true }),
    );
    for (const event of events) this.#record(event);
    return events;
  }
}

/** Whether an event of a container says that the container was there before it, and is there now. */
function existedBefore(action: EventAction): boolean {
  return action !== EventAction.CREATE && action !== EventAction.REMOVE;
}

function newcomer(
  name: string,
  attributes: StringMap,
  owner: string,
  changed: bigint,
): KnownContainer {
  return { name, attributes, owner, live: false, paused: false, health: undefined, changed };
}

function subject({ name, attributes, owner }: KnownContainer): EventInit {
  return { resourceName: name, attributes, owner };
}

function noteExistence(
  all: Map<string, StringMap>,
  id: string,
  action: EventAction,
  attributes: StringMap,
): void {
  if (action === EventAction.CREATE) all.set(id, attributes);
  if (action === EventAction.REMOVE) all.delete(id);
}

function replaceAll(all: Map<string, StringMap>, by: ReadonlyMap<string, StringMap>): void {
  all.clear();
  for (const [id, attributes] of by) all.set(id, attributes);
}

/** Yields the creations and removals. */
function* existence(
  resource: EventResource,
  known: ReadonlyMap<string, StringMap>,
  listed: ReadonlyMap<string, StringMap>,
): Generator<EventInit> {
  for (const [resourceId, attributes] of known) {
    if (listed.has(resourceId)) continue;
    const { REMOVE: action } = EventAction;
    yield { ...named(resource, resourceId, attributes), action, engineAction: "destroy" };
  }
  for (const [resourceId, attributes] of listed) {
    if (known.has(resourceId)) continue;
    const { CREATE: action } = EventAction;
    yield { ...named(resource, resourceId, attributes), action, engineAction: "create" };
  }
}

function named(resource: EventResource, resourceId: string, attributes: StringMap): EventInit {
  return { resource, resourceId, resourceName: attributes["name"] ?? "", attributes };
}

/** Yields the changes of a container that exists now. */
function* containerDifferences(
  json: ContainerJson,
  before: KnownContainer | undefined,
): Generator<EventInit> {
  const { Id, Name, Created, Config, State } = json;
  const name = Name.replace(/^\//, "");
  const attributes = {
    ...stripInternalLabels(Config.Labels ?? {}),
    image: Config.Image ?? "",
    name,
  };
  const owner = ownerOf(Config.Labels);
  const about = (action: EventAction, engineAction: string): EventInit => ({
    resource: EventResource.CONTAINER,
    resourceId: Id,
    resourceName: name,
    attributes,
    owner,
    action,
    engineAction,
  });
  const known = before ?? newcomer(name, attributes, owner, 0n);
  const at = (text: string) => {
    const time = timestampOf(text);
    return time && { time };
  };
  if (before === undefined) {
    yield { ...about(EventAction.CREATE, "create"), ...at(Created) };
  }
  if (known.name !== name) {
    const oldName = `/${known.name}`;
    yield {
      ...about(EventAction.RENAME, "rename"),
      attributes: { ...attributes, oldName },
      details: { case: "renamed", value: { oldName: known.name } },
    };
  }
  const live = State.Running && !isRestarting(State.Status);
  const since = (text: string): boolean => {
    const time = timestampOf(text);
    return time !== undefined && timestampNanos(time) > known.changed;
  };
  const restarted = live && known.live && since(State.StartedAt);
  const ran = !live && !known.live && since(State.FinishedAt);
  // dockerd does not keep the exit status of the previous run.
  if (restarted) yield { ...about(EventAction.EXIT, "die"), ...at(State.FinishedAt) };
  const started = restarted || ran || (live && !known.live);
  if (started) yield { ...about(EventAction.START, "start"), ...at(State.StartedAt) };
  if (ran || (!live && known.live)) {
    const exitCode = String(State.ExitCode);
    yield {
      ...about(EventAction.EXIT, "die"),
      ...at(State.FinishedAt),
      attributes: { ...attributes, exitCode },
      ...exitStatus(json),
    };
  }
  if (!live) return;
  const paused = known.paused && !started;
  if (State.Paused && !paused) yield about(EventAction.PAUSE, "pause");
  if (!State.Paused && paused) yield about(EventAction.UNPAUSE, "unpause");
  // Docker does not report that a health check begins.
  const health = State.Health?.Status ?? "none";
  const healthBefore = (started ? undefined : known.health) ?? "starting";
  if (health !== "none" && health !== healthBefore) {
    yield {
      ...about(EventAction.HEALTH_STATUS, `health_status: ${health}`),
      details: { case: "health", value: { status: healthOf(health) } },
    };
  }
}

function exitStatus({ State }: ContainerJson): EventInit {
  const exit = exitOf(State);
  return exit === undefined ? {} : { details: { case: "exit", value: exit } };
}

function isRestarting(status: string): boolean {
  return status === "restarting";
}

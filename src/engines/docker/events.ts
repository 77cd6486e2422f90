/** What happens on a dockerd, as events. */
import { create } from "@bufbuild/protobuf";
import { timestampMs, timestampNow } from "@bufbuild/protobuf/wkt";
import type {
  Event,
  EventFilter,
  StreamEventsRequest,
  StreamEventsResponse,
} from "../../../gen/nap/v1/engine_service_pb.js";
import {
  EventAction,
  EventResource,
  EventSchema,
  StreamEventsResponseSchema,
} from "../../../gen/nap/v1/engine_service_pb.js";
import { ExitStatusSchema } from "../../../gen/nap/v1/types_pb.js";
import type { Call } from "../../engine/engine.js";
import { unblocked } from "../../engine/queue.js";
import { eventMatches } from "../../engine/selection.js";
import type { DockerConnection } from "./connection.js";
import { meaning } from "./errors.js";
import type { Filters } from "./filters.js";
import { filters, labelWords } from "./filters.js";
import type { EventJson } from "./json.js";
import { lineBatches } from "./lines.js";
import { queryTime, timestampOfNanos } from "../../engine/time.js";

/** As many bytes of events wait for one client; dockerd itself would drop them unseen. */
const queueBytes = 4 * 1024 * 1024;

const resources: readonly [EventResource, string][] = [
  [EventResource.CONTAINER, "container"],
  [EventResource.IMAGE, "image"],
  [EventResource.VOLUME, "volume"],
  [EventResource.NETWORK, "network"],
  [EventResource.ENGINE, "daemon"],
];

/** Actions and dockerd's words for them: the same thing has several for different resources. */
const actions: readonly [EventAction, ...string[]][] = [
  [EventAction.CREATE, "create"],
  [EventAction.START, "start"],
  [EventAction.DIE, "die"],
  [EventAction.STOP, "stop"],
  [EventAction.KILL, "kill"],
  [EventAction.RESTART, "restart"],
  [EventAction.PAUSE, "pause"],
  [EventAction.UNPAUSE, "unpause"],
  [EventAction.RENAME, "rename"],
  [EventAction.UPDATE, "update"],
  [EventAction.DESTROY, "destroy", "delete", "remove"],
  [EventAction.OOM, "oom"],
  [EventAction.HEALTH_STATUS, "health_status"],
  [EventAction.ATTACH, "attach"],
  [EventAction.DETACH, "detach"],
  [EventAction.EXEC_CREATE, "exec_create"],
  [EventAction.EXEC_START, "exec_start"],
  [EventAction.EXEC_DIE, "exec_die"],
  [EventAction.RESIZE, "resize"],
  [EventAction.TOP, "top"],
  [EventAction.COMMIT, "commit"],
  [EventAction.ARCHIVE_READ, "archive-path"],
  [EventAction.ARCHIVE_WRITE, "extract-to-dir"],
  [EventAction.EXPORT, "export"],
  [EventAction.PULL, "pull"],
  [EventAction.PUSH, "push"],
  [EventAction.TAG, "tag"],
  [EventAction.UNTAG, "untag"],
  [EventAction.IMPORT, "import"],
  [EventAction.LOAD, "load"],
  [EventAction.SAVE, "save"],
  [EventAction.MOUNT, "mount"],
  [EventAction.UNMOUNT, "unmount"],
  [EventAction.CONNECT, "connect"],
  [EventAction.DISCONNECT, "disconnect"],
  [EventAction.PRUNE, "prune"],
  [EventAction.RELOAD, "reload"],
];

/** Streams events. The first message, which may be empty, comes when the subscription is armed. */
export async function* streamEvents(
  docker: DockerConnection,
  request: StreamEventsRequest,
  { signal }: Call,
): AsyncGenerator<StreamEventsResponse> {
  const { since, until, filter } = request;
  // Without a since dockerd would replay what it remembers as soon as there is an until.
  const query = {
    since: queryTime(since ?? (until && timestampNow())),
    until: queryTime(until),
    filters: eventFilters(filter),
  };
  const source = await meaning(docker.api.stream({ path: "/events", query }, signal), "events", {
    field: "since",
  });
  // dockerd matches the beginnings of names; images it knows by more names than an event tells.
  const named = filter && { ...filter, images: [], labels: [] };
  try {
    yield create(StreamEventsResponseSchema);
    const lines = lineBatches(docker.api.read(source, signal));
    const sizeOf = (batch: string[]): number => batch.reduce((sum, line) => sum + line.length, 0);
    for await (const batch of unblocked(lines, sizeOf, queueBytes)) {
      const events = batch.map(eventOf).filter((event) => eventMatches(event, named));
      if (events.length > 0) yield create(StreamEventsResponseSchema, { events });
    }
  } finally {
    source.destroy();
  }
  // The connection ended: at `until`, or since dockerd went away.
  if (until === undefined || Date.now() < timestampMs(until)) await docker.lost();
}

function eventFilters(filter: EventFilter | undefined): Filters {
  if (filter === undefined) return {};
  return filters({
    type: resources.filter(([value]) => filter.resources.includes(value)).map(([, word]) => word),
    event: actions.filter(([value]) => filter.actions.includes(value)).flatMap(([, ...w]) => w),
    container: filter.containers,
    image: filter.images,
    volume: filter.volumes,
    network: filter.networks,
    label: labelWords(filter.labels),
  });
}

/** One event from a line of JSON. */
export function eventOf(line: string): Event {
  const json = JSON.parse(line) as EventJson;
  const { ID: resourceId, Attributes } = json.Actor;
  const attributes = Attributes ?? {};
  // Actions of commands and health probes carry what happened behind a colon.
  const [word = ""] = json.Action.split(":");
  const action = actions.find(([, ...words]) => words.includes(word))?.[0];
  return create(EventSchema, {
    time: timestampOfNanos(nanosOfLine(line) ?? BigInt(json.time) * 1_000_000_000n),
    resource: resources.find(([, name]) => name === json.Type)?.[0],
    action,
    engineAction: json.Action,
    resourceId,
    resourceName: attributes["name"] ?? "",
    attributes,
    ...(action === EventAction.DIE && {
      exit: create(ExitStatusSchema, { code: Number(attributes["exitCode"]) }),
    }),
  });
}

/** The time from the raw text: as a JSON number it would lose its last digits. */
function nanosOfLine(line: string): bigint | undefined {
  const digits = /"timeNano":(\d+)\}$/.exec(line)?.[1];
  return digits === undefined ? undefined : BigInt(digits);
}

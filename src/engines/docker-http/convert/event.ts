/** Converts events from dockerd's JSON. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../../../gen/nap/v1/engine_service_pb.js";
import {
  EventAction,
  EventResource,
  EventSchema,
} from "../../../../gen/nap/v1/engine_service_pb.js";
import { ownerOf, stripInternalLabels } from "../../../contract/reserved-labels.js";
import { parseAnswer } from "../response.js";
import { timestampOfNanos } from "../../../lib/time.js";
import type { EventJson } from "../json.js";
import { healthOf } from "./container/container.js";

const resources: readonly [EventResource, string][] = [
  [EventResource.CONTAINER, "container"],
  [EventResource.IMAGE, "image"],
  [EventResource.VOLUME, "volume"],
  [EventResource.NETWORK, "network"],
  [EventResource.ENGINE, "daemon"],
];

/** Actions and dockerd's names for them: the same thing has several for different resources. */
const actions: readonly [EventAction, ...string[]][] = [
  [EventAction.CREATE, "create"],
  [EventAction.START, "start"],
  [EventAction.EXIT, "die"],
  [EventAction.STOP, "stop"],
  [EventAction.KILL, "kill"],
  [EventAction.RESTART, "restart"],
  [EventAction.PAUSE, "pause"],
  [EventAction.UNPAUSE, "unpause"],
  [EventAction.RENAME, "rename"],
  [EventAction.UPDATE, "update"],
  [EventAction.REMOVE, "destroy", "delete", "remove"],
  [EventAction.OOM, "oom"],
  [EventAction.HEALTH_STATUS, "health_status"],
  [EventAction.ATTACH, "attach"],
  [EventAction.DETACH, "detach"],
  [EventAction.EXEC_CREATE, "exec_create"],
  [EventAction.EXEC_START, "exec_start"],
  [EventAction.EXEC_EXIT, "exec_die"],
  [EventAction.RESIZE, "resize"],
  [EventAction.LIST_PROCESSES, "top"],
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

/** One event of an engine from a line of JSON. */
export function eventOf(engine: string, line: string): Event {
  const json = parseAnswer<EventJson>(line);
  const { ID: resourceId, Attributes } = json.Actor;
  const attributes = stripInternalLabels(Attributes ?? {});
  // Actions of commands and health probes carry what happened behind a colon.
  const [word = ""] = json.Action.split(":");
  const action = actions.find(([, ...words]) => words.includes(word))?.[0];
  const time = timestampOfNanos(nanosOfLine(line) ?? BigInt(json.time) * 1_000_000_000n);
  return create(EventSchema, {
    engine,
    time,
    resource: resources.find(([, name]) => name === json.Type)?.[0],
    action,
    engineAction: json.Action,
    resourceId,
    resourceName: attributes["name"] ?? "",
    attributes,
    owner: ownerOf(Attributes),
    details: detailsOf(action, json, time),
  });
}

/** Returns the details of an action. */
function detailsOf(
  action: EventAction | undefined,
  { Action, Actor: { Attributes } }: EventJson,
  time: Timestamp,
): MessageInitShape<typeof EventSchema>["details"] {
  const attributes = Attributes ?? {};
  const { exitCode, execID: execId = "", container, oldName, signal } = attributes;
  const exit = { code: Number(exitCode), finishTime: time };
  switch (action) {
    case EventAction.EXIT:
      return { case: "exit", value: exit };
    case EventAction.HEALTH_STATUS:
      return { case: "health", value: { status: healthOf(Action.split(": ")[1]) } };
    case EventAction.RENAME:
      return { case: "renamed", value: { oldName: oldName?.replace(/^\//, "") ?? "" } };
    case EventAction.CONNECT:
    case EventAction.DISCONNECT:
    case EventAction.MOUNT:
    case EventAction.UNMOUNT:
      return container ? { case: "member", value: { containerId: container } } : noDetails;
    case EventAction.KILL:
      return signal ? { case: "signalled", value: { signal } } : noDetails;
    case EventAction.EXEC_CREATE:
    case EventAction.EXEC_START:
      return { case: "exec", value: { execId } };
    case EventAction.EXEC_EXIT:
      return { case: "exec", value: { execId, ...(exitCode !== undefined && { exit }) } };
    default:
      return noDetails;
  }
}

const noDetails = { case: undefined } as const;

/** The time from the raw text: as a JSON number it would lose its last digits. */
function nanosOfLine(line: string): bigint | undefined {
  const digits = /"timeNano":(\d+)\}$/.exec(line)?.[1];
  return digits === undefined ? undefined : BigInt(digits);
}

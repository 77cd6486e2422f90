/** Converts events from dockerd's JSON. */
import { create } from "@bufbuild/protobuf";
import type { Event } from "../../../../gen/nap/v1/engine_service_pb.js";
import {
  EventAction,
  EventResource,
  EventSchema,
} from "../../../../gen/nap/v1/engine_service_pb.js";
import { ExitStatusSchema } from "../../../../gen/nap/v1/types_pb.js";
import { clientLabels, ownerOf } from "../../../contract/reserved-labels.js";
import { parseAnswer } from "../response.js";
import { timestampOfNanos } from "../../../lib/time.js";
import type { EventJson } from "../json.js";

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

/** One event from a line of JSON. */
export function eventOf(line: string): Event {
  const json = parseAnswer<EventJson>(line);
  const { ID: resourceId, Attributes } = json.Actor;
  const attributes = clientLabels(Attributes ?? {});
  // Actions of commands and health probes carry what happened behind a colon.
  const [word = ""] = json.Action.split(":");
  const action = actions.find(([, ...words]) => words.includes(word))?.[0];
  const time = timestampOfNanos(nanosOfLine(line) ?? BigInt(json.time) * 1_000_000_000n);
  return create(EventSchema, {
    time,
    resource: resources.find(([, name]) => name === json.Type)?.[0],
    action,
    engineAction: json.Action,
    resourceId,
    resourceName: attributes["name"] ?? "",
    attributes,
    owner: ownerOf(Attributes),
    ...(action === EventAction.DIE && {
      exit: create(ExitStatusSchema, { code: Number(attributes["exitCode"]), finishTime: time }),
    }),
  });
}

/** The time from the raw text: as a JSON number it would lose its last digits. */
function nanosOfLine(line: string): bigint | undefined {
  const digits = /"timeNano":(\d+)\}$/.exec(line)?.[1];
  return digits === undefined ? undefined : BigInt(digits);
}

/** What messages of streams carry, where they carry a batch. */
import type {
  ContainerStats,
  StreamContainerStatsResponse,
} from "../../gen/nap/v1/container_service_pb.js";
import type { Event, StreamEventsResponse } from "../../gen/nap/v1/engine_service_pb.js";
import type { ExitStatus } from "../../gen/nap/v1/types_pb.js";

/** Returns the events of a message; none with `ready`. */
export function eventsIn({ event }: Pick<StreamEventsResponse, "event">): Event[] {
  return event.case === "batch" ? event.value.events : [];
}

/** Returns the measurements of a message; none with `ready`. */
export function statsIn({ event }: Pick<StreamContainerStatsResponse, "event">): ContainerStats[] {
  return event.case === "batch" ? event.value.stats : [];
}

/** Returns how many ticks were left out before a message. */
export function skippedTicksIn({ event }: Pick<StreamContainerStatsResponse, "event">): number {
  return event.case === "batch" ? event.value.skippedTicks : 0;
}

/** Returns how a container exited, from the event of its exit. */
export function exitIn(event: Event | undefined): ExitStatus | undefined {
  return event?.details.case === "exit" ? event.details.value : undefined;
}

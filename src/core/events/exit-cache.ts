/**
 * Remembers the exits of containers, including removed ones, so that a wait that begins after a container
 * with auto_remove is gone still returns its exit status.
 */
import { clone } from "@bufbuild/protobuf";
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import type { ExitStatus } from "../../../gen/nap/v1/types_pb.js";
import { ExitStatusSchema } from "../../../gen/nap/v1/types_pb.js";
import { NapError } from "../../contract/errors.js";

/** How long an exit is kept, and the maximum number of exits kept. */
const rememberedMillis = 10 * 60 * 1000;
const rememberedCount = 10_000;

/** The last exit of a container. */
export interface PastExit {
  readonly id: string;
  readonly name: string;
  readonly exit: ExitStatus;
}

/** The exits of one engine's containers, in the order in which they were reported. */
export class ExitCache {
  readonly #exits = new Map<string, PastExit & { readonly until: number }>();
  /** The containers with an out-of-memory kill since their start. */
  readonly #starved = new Set<string>();
  /** Returns the current time in milliseconds since 1970. */
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Records an event and returns it; an exit is returned with `oom_killed` set from earlier events. */
  record(event: Event): Event {
    if (event.resource !== EventResource.CONTAINER) return event;
    const { action, resourceId: id, resourceName: name, details } = event;
    if (action === EventAction.OOM) this.#starved.add(id);
    if (action === EventAction.START || action === EventAction.REMOVE) this.#starved.delete(id);
    if (action !== EventAction.EXIT) return event;
    // If this exit's status is unknown, the status of an earlier run must not be returned for it.
    this.#exits.delete(id);
    if (details.case !== "exit") return event;
    const known = clone(ExitStatusSchema, details.value);
    known.oomKilled ||= this.#starved.has(id);
    this.#remember({ id, name, exit: known });
    return { ...event, details: { case: "exit", value: known } };
  }

  /**
   * Returns the exit of a container by id, name (the latest) or unique prefix. Fails with AMBIGUOUS_ID.
   */
  find(key: string): PastExit | undefined {
    this.#forget();
    const exact = this.#exits.get(key);
    if (exact !== undefined) return exact;
    const all = [...this.#exits.values()];
    const named = all.findLast(({ name }) => name === key);
    if (named !== undefined) return named;
    const [only, other] = all.filter(({ id }) => id.startsWith(key));
    if (other === undefined) return only;
    throw new NapError("AMBIGUOUS_ID", `several ids begin with ${key}`, { resource: key });
  }

  #remember(past: PastExit): void {
    this.#exits.set(past.id, { ...past, until: this.#now() + rememberedMillis });
    this.#forget();
  }

  #forget(): void {
    for (const [id, { until }] of this.#exits) {
      if (this.#exits.size <= rememberedCount && until > this.#now()) return;
      this.#exits.delete(id);
    }
  }
}

/**
 * Remembers how containers exited, also those that are gone, so that a wait which comes after a
 * container was removed by itself still gets its answer.
 */
import { clone } from "@bufbuild/protobuf";
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import type { ExitStatus } from "../../../gen/nap/v1/types_pb.js";
import { ExitStatusSchema } from "../../../gen/nap/v1/types_pb.js";
import { NapError } from "../../contract/errors.js";

/** For as long, and of as many containers. */
const rememberedMillis = 10 * 60 * 1000;
const rememberedCount = 10_000;

/** The last exit of a container. */
export interface PastExit {
  readonly id: string;
  readonly name: string;
  readonly exit: ExitStatus;
}

/** The exits of one engine's containers, in the order in which they came. */
export class ExitCache {
  readonly #exits = new Map<string, PastExit & { readonly until: number }>();
  /** Containers in which something was killed for want of memory since their start. */
  readonly #starved = new Set<string>();
  /** What time it is, in milliseconds since 1970. */
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Takes notice of an event; that of an exit is given back with what came before it. */
  record(event: Event): Event {
    if (event.resource !== EventResource.CONTAINER) return event;
    const { action, resourceId: id, resourceName: name, details } = event;
    if (action === EventAction.OOM) this.#starved.add(id);
    if (action === EventAction.START || action === EventAction.REMOVE) this.#starved.delete(id);
    if (action !== EventAction.EXIT) return event;
    // What is not known now must not be taken for what was known of an earlier run.
    this.#exits.delete(id);
    if (details.case !== "exit") return event;
    const known = clone(ExitStatusSchema, details.value);
    known.oomKilled ||= this.#starved.has(id);
    this.#remember({ id, name, exit: known });
    return { ...event, details: { case: "exit", value: known } };
  }

  /** The exit of a container by id, name (the latest) or unique prefix. Fails with AMBIGUOUS_ID. */
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

/** The context of every call of this engine. */
import { createHash } from "node:crypto";
import { watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import type { Server } from "node:net";
import { createServer } from "node:net";
import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { Container } from "../../../gen/nap/v1/container_service_pb.js";
import type { Event } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource, EventSchema } from "../../../gen/nap/v1/engine_service_pb.js";
import type { BindRoots } from "../../core/mounts/bind-roots.js";
import { imageOf } from "../../contract/container-source.js";
import { NapError } from "../../contract/errors.js";
import type { EventSource } from "../../core/events/stream.js";
import { ExitCache } from "../../core/events/exit-cache.js";
import { Journal } from "../../core/events/journal.js";
import { sleep } from "../../lib/sleep.js";
import { Store } from "./runtime/store.js";

/** The directories of this engine. */
export interface RuncTarget {
  /** The engine's name. */
  readonly name: string;
  /** The directory of images and containers, which no other process may use. */
  readonly root: string;
  /** The control group below which containers' own are made, as an absolute path. */
  readonly cgroupParent: string;
}

/** The polling intervals, since a file watch may miss a change under load. */
const pollMillis = 500;
const lookMillis = 2000;

/** The state of one engine: its store, its events, and its locks. */
export class RuncContext implements EventSource {
  readonly name: string;
  readonly cgroupParent: string;
  readonly store: Store;
  readonly journal = new Journal();
  readonly exits = new ExitCache();
  /** This process reports the events itself, by its own clock. */
  readonly clockOffsetMillis = 0;
  /** The ends of runs that have been reported, by container. */
  readonly #reported = new Map<string, string>();
  readonly #locks = new Map<string, Promise<unknown>>();
  readonly #waiting = new Set<() => void>();
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #owner: Server | undefined;
  #onChange = (): void => undefined;

  constructor(
    { name, root, cgroupParent }: RuncTarget,
    /** The directories of the host that bind mounts may name. */
    readonly bindRoots: BindRoots,
  ) {
    this.name = name;
    this.cgroupParent = cgroupParent;
    this.store = new Store(root);
  }

  get engine(): string {
    return this.name;
  }

  async flushed(): Promise<void> {
    // This process appends its events before a call returns.
  }

  /**
   * Locks the root for this process until it exits. Fails with ENGINE_UNREACHABLE if another process holds
   * the lock. The lock is an abstract socket, which the kernel releases.
   */
  async acquireRootLock(): Promise<void> {
    if (this.#owner !== undefined) return;
    const owner = createServer().unref();
    await new Promise<void>((resolve, reject) => {
      owner.once("error", (error) => {
        const message = `another nap uses ${this.store.root}`;
        reject(new NapError("ENGINE_UNREACHABLE", message, {}, error));
      });
      const name = createHash("sha256").update(this.store.root).digest("hex");
      owner.listen(`\0nap-runc-${name}`, resolve);
    });
    this.#owner = owner;
  }

  /** Watches for exits: at each exit, and periodically, calls `onChange` and wakes all waiting calls. */
  watchExits(onChange: () => void): void {
    this.#onChange = onChange;
    // If the watch fails, the timer remains.
    this.#watcher ??= watch(this.store.exits, () => this.checkExits()).on("error", () => undefined);
    this.#timer ??= setInterval(() => this.checkExits(), lookMillis).unref();
  }

  /** Checks for exits now. */
  checkExits(): void {
    this.#onChange();
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next exit of any container, or after a short while. */
  async nextChange(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = (): void => woken.abort();
    this.#waiting.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    try {
      await sleep(pollMillis, woken.signal).catch(() => undefined);
    } finally {
      this.#waiting.delete(wake);
      signal.removeEventListener("abort", wake);
    }
    signal.throwIfAborted();
  }

  /** Runs `work` while no other work runs under this key. */
  async withLock<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#locks.get(key) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(work);
    this.#locks.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#locks.get(key) === mine) this.#locks.delete(key);
    }
  }

  /** umoci changes a layout without a lock of its own. */
  async withImageLock<T>(work: () => Promise<T>): Promise<T> {
    return this.withLock("images", work);
  }

  /** Reports the end of a container's last run, once. */
  reportExit(now: Container): void {
    const time = now.exit?.finishTime ?? now.startTime;
    const key = `${time?.seconds}.${time?.nanos}`;
    if (this.#reported.get(now.id) === key) return;
    this.#reported.set(now.id, key);
    this.report(EventAction.EXIT, "die", now);
  }

  /** Reports what was done to a container. */
  report(
    action: EventAction,
    engineAction: string,
    container: Container,
    details: Event["details"] = exitDetails(action, container),
  ): void {
    const { id, name, spec, owner } = container;
    const attributes = { ...spec?.labels, image: imageOf(spec), name };
    const event = create(EventSchema, {
      time: timestampNow(),
      resource: EventResource.CONTAINER,
      action,
      engineAction,
      resourceId: id,
      resourceName: name,
      attributes,
      owner,
      engine: this.name,
      details,
    });
    this.journal.append(this.exits.record(event));
    if (action === EventAction.REMOVE) this.#reported.delete(id);
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#owner?.close();
    this.#owner = undefined;
  }
}

/** Returns how a container exited, as the details of the event of its exit. */
function exitDetails(action: EventAction, { exit }: Container): Event["details"] {
  const isExit = action === EventAction.EXIT && exit !== undefined;
  return isExit ? { case: "exit", value: exit } : { case: undefined };
}

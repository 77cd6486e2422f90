/** A client of WatchContainers that keeps what it is told, as an orchestrator would. */
import type { Container } from "../../gen/nap/v1/container_service_pb.js";
import { ListView } from "../../gen/nap/v1/types_pb.js";
import type { Clients } from "./engines/nap.js";

type Request = Parameters<Clients["containers"]["watchContainers"]>[0];

/** The containers of an engine by id, kept up to date until it is stopped. */
export class Watcher {
  readonly containers = new Map<string, Container>();
  readonly #abort = new AbortController();
  readonly #reading: Promise<void>;
  #failure: unknown;
  #synced = false;

  /** `onContainer` is called with each container that is sent. */
  constructor(
    nap: Clients,
    request: Request,
    onContainer: (container: Container) => void = () => undefined,
  ) {
    const stream = nap.containers.watchContainers(request, { signal: this.#abort.signal });
    this.#reading = (async () => {
      for await (const { event } of stream) {
        if (event.case === "container") {
          this.containers.set(event.value.id, event.value);
          onContainer(event.value);
        }
        if (event.case === "removed") this.containers.delete(event.value.containerId);
        if (event.case === "synced") this.#synced = true;
      }
    })().catch((error: unknown) => {
      this.#failure = error;
    });
  }

  /** Whether it has been sent all that there was at the start. Throws what ended the stream. */
  get synced(): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#synced;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#reading;
  }
}

/** All selected containers as the engine's list has them, by id. */
export async function listAll(nap: Clients, request: Request): Promise<Map<string, Container>> {
  const found = new Map<string, Container>();
  let pageToken = "";
  do {
    const list = { ...request, view: ListView.FULL, pageToken };
    const page = await nap.containers.listContainers(list as object);
    for (const container of page.containers) found.set(container.id, container);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

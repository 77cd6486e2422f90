/**
 * The files of this engine, by which it finds its containers after a restart.
 *
 * Below its root: `images` (an OCI layout), `unpacked/<digest>` (a root file system for each image,
 * shared by its containers), `containers/<id>` (one directory a container), `exits` (conmon writes
 * one file here for each container that has exited). Records are replaced by a rename, never changed
 * in place.
 */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { JsonValue } from "@bufbuild/protobuf";
import { clone, fromJson, toJson } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampDate, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Container } from "../../../../gen/nap/v1/container_service_pb.js";
import { ContainerSchema, ContainerState } from "../../../../gen/nap/v1/container_service_pb.js";
import { NapError } from "../../../contract/errors.js";
import { restoreBindRoots } from "../../../core/mounts/rooted-mounts.js";
import { timestampOfNanos } from "../../../lib/time.js";

/** The maximum number of removed containers kept in memory. */
const rememberedEnds = 1000;

/** A container as it was created, with nap's own labels and the digest of its image. */
export interface Stored {
  readonly container: Container;
  readonly ownLabels: Readonly<Record<string, string>>;
  readonly imageDigest: string;
}

/** The last run of a container. */
interface Run {
  readonly startTime: Timestamp;
  readonly pid: number;
}

/** The files of one container. */
export interface ContainerPaths {
  readonly directory: string;
  readonly bundleConfig: string;
  readonly rootfs: string;
  readonly upper: string;
  readonly work: string;
  readonly log: string;
  readonly pidFile: string;
  readonly persist: string;
  readonly exitFile: string;
}

/** The records of one engine. One process at a time may own a root. */
export class Store {
  readonly #containers = new Map<string, Stored>();
  /** Containers that were removed, as they were last, for those who still wait for their end. */
  readonly #gone = new Map<string, Container>();
  #loaded = false;

  constructor(readonly root: string) {}

  get images(): string {
    return join(this.root, "images");
  }

  get exits(): string {
    return join(this.root, "exits");
  }

  /** The directory in which runc stores the state of running containers. */
  get runcRoot(): string {
    return join(this.root, "runc");
  }

  /** The root file system of an image, by its digest. */
  unpacked(digest: string): string {
    return join(this.root, "unpacked", digest.replace(":", "-"));
  }

  paths(id: string): ContainerPaths {
    const directory = join(this.root, "containers", id);
    return {
      directory,
      bundleConfig: join(directory, "config.json"),
      rootfs: join(directory, "rootfs"),
      upper: join(directory, "upper"),
      work: join(directory, "work"),
      log: join(directory, "log"),
      pidFile: join(directory, "pid"),
      persist: join(directory, "persist"),
      exitFile: join(this.exits, id),
    };
  }

  /** Reads the records, once. */
  async load(): Promise<void> {
    if (this.#loaded) return;
    for (const directory of ["containers", "exits", "unpacked", "sockets"]) {
      await mkdir(join(this.root, directory), { recursive: true, mode: 0o700 });
    }
    for (const id of await readdir(join(this.root, "containers"))) {
      const { directory } = this.paths(id);
      const text = await readIfThere(join(directory, "record.json"));
      if (text !== undefined) this.#containers.set(id, recordFromText(text));
      else await rm(directory, { recursive: true, force: true });
    }
    this.#loaded = true;
  }

  /** All containers as they were created. */
  get all(): readonly Stored[] {
    return [...this.#containers.values()];
  }

  /** The container by id, unique prefix or name. Fails with CONTAINER_NOT_FOUND and AMBIGUOUS_ID. */
  find(key: string): Stored {
    const exact = this.#containers.get(key) ?? this.byName(key);
    if (exact !== undefined) return exact;
    const found = this.all.filter(({ container }) => container.id.startsWith(key));
    const [only] = found;
    if (only === undefined) {
      throw new NapError("CONTAINER_NOT_FOUND", `no such container: ${key}`, { resource: key });
    }
    if (found.length > 1) {
      throw new NapError("AMBIGUOUS_ID", `several ids begin with ${key}`, { resource: key });
    }
    return only;
  }

  byName(name: string): Stored | undefined {
    return this.all.find(({ container }) => container.name === name);
  }

  /** Keeps a new container. */
  async add(stored: Stored): Promise<void> {
    const { directory } = this.paths(stored.container.id);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await replaceFile(join(directory, "record.json"), recordText(stored));
    this.#containers.set(stored.container.id, stored);
  }

  /** Forgets a container, which was `last` as it is now, and everything that it wrote. */
  async remove(last: Container): Promise<void> {
    const { id } = last;
    const { directory, exitFile } = this.paths(id);
    this.#gone.set(id, last);
    const [oldest] = this.#gone.keys();
    if (this.#gone.size > rememberedEnds && oldest !== undefined) this.#gone.delete(oldest);
    this.#containers.delete(id);
    await rm(join(directory, "record.json"), { force: true });
    await rm(directory, { recursive: true, force: true });
    await rm(exitFile, { force: true });
  }

  /** Forgets the last run of a container, before another one. */
  async forgetRun(id: string): Promise<void> {
    const { directory, exitFile } = this.paths(id);
    await rm(join(directory, "run.json"), { force: true });
    await rm(exitFile, { force: true });
  }

  /** Notes that a run of a container began. */
  async noteRun(id: string, pid: number): Promise<void> {
    const run = { startTime: Date.now(), pid };
    await replaceFile(join(this.paths(id).directory, "run.json"), JSON.stringify(run));
  }

  /** Whether the container has been removed. */
  isGone(id: string): boolean {
    return !this.#containers.has(id);
  }

  /** The container as it is now, or as it was when it was removed. */
  async current(stored: Pick<Stored, "container" | "ownLabels">): Promise<Container> {
    const { container, ownLabels } = stored;
    const gone = this.#gone.get(container.id);
    if (gone !== undefined) return gone;
    const now = clone(ContainerSchema, container);
    restoreBindRoots(now.spec?.mounts ?? [], ownLabels);
    const { directory, exitFile, persist } = this.paths(container.id);
    const text = await readIfThere(join(directory, "run.json"));
    if (text === undefined) return now;
    const run = runFromText(text);
    now.startTime = run.startTime;
    const [code, finishTime] = await Promise.all([readIfThere(exitFile), changeTime(exitFile)]);
    // It may have been written, or removed for another run, between the two looks.
    if ((code === undefined) !== (finishTime === undefined)) return this.current(stored);
    if (code === undefined) {
      now.state = ContainerState.RUNNING;
      now.pid = BigInt(run.pid);
      return now;
    }
    now.state = ContainerState.EXITED;
    const oomKilled = (await readIfThere(join(persist, "oom"))) !== undefined;
    now.exit = { $typeName: "nap.v1.ExitStatus", code: Number(code), oomKilled, finishTime };
    return now;
  }
}

function recordText({ container, ownLabels, imageDigest }: Stored): string {
  return JSON.stringify({ container: toJson(ContainerSchema, container), ownLabels, imageDigest });
}

function recordFromText(text: string): Stored {
  const { container, ...rest } = JSON.parse(text) as Omit<Stored, "container"> & {
    container: JsonValue;
  };
  return { container: fromJson(ContainerSchema, container), ...rest };
}

function runFromText(text: string): Run {
  const { startTime, pid } = JSON.parse(text) as { startTime: number; pid: number };
  return { startTime: timestampFromMs(startTime), pid };
}

/** The text of a file. Undefined: it is not there. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    // A file of a process that ends at this moment is found and cannot be read.
    if (["ENOENT", "ESRCH"].includes((error as { code?: string }).code ?? "")) return undefined;
    throw error;
  }
}

/** When a file was last written. Undefined: it is not there. */
async function changeTime(path: string): Promise<Timestamp | undefined> {
  try {
    return timestampOfNanos((await stat(path, { bigint: true })).mtimeNs);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return undefined;
    throw error;
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  await writeFile(fresh, text, { flush: true });
  await rename(fresh, path);
}

/** Seconds since 1970, for sorting. */
export function createdSeconds({ container }: Stored): number {
  return container.createTime === undefined
    ? 0
    : timestampDate(container.createTime).getTime() / 1000;
}

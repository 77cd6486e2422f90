/** The connection to one dockerd: reached, its API version negotiated, its abilities known. */
import { hostname } from "node:os";
import type { IncomingMessage } from "node:http";
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import Docker from "dockerode";
import type { BindRoots } from "../../core/mounts/bind-roots.js";
import type { Connection } from "../../core/engine.js";
import { NapError } from "../../contract/errors.js";
import { DockerApi, unreachable } from "../docker-http/client.js";
import { minVersion } from "../docker-http/api-version.js";
import { UnlistedExits } from "./events/unlisted-exits.js";
import type { InfoJson, VersionJson } from "../docker-http/json.js";
import { Liveness } from "../docker-http/liveness.js";
import { dockerSupport } from "./support.js";

/** The newest version of the API that nap speaks, and the oldest. */
const newestApi = "1.48";
const oldestApi = "1.41";

/** How to reach one dockerd. */
export interface DockerTarget {
  /** The engine's name. */
  readonly name: string;
  /** `unix:///path` or `tcp://host:port`. */
  readonly url: string;
  /** Certificates as PEM; with them the connection is TLS. */
  readonly tls?: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer };
  /** How long dockerd may be silent before calls under way are given up. */
  readonly timeoutMillis: number;
}

/** The connection of one engine. It is made at its first use, and anew after it was lost. */
export class DockerConnection {
  readonly name: string;
  /** The exits that dockerd may not list yet. */
  readonly unlistedExits = new UnlistedExits();
  readonly #config: DockerTarget;
  readonly #inFlight = new Map<string, Promise<unknown>>();
  readonly #liveness: Liveness;
  #api: DockerApi;
  #connected: Connection | undefined;
  #ownHost = false;

  constructor(
    config: DockerTarget,
    /** The directories of the host that bind mounts may name. */
    readonly bindRoots: BindRoots,
  ) {
    this.name = config.name;
    this.#config = config;
    const probe = this.#newDocker();
    // A connection of its own each time: a kept one may be what is broken.
    const Agent = config.tls === undefined ? HttpAgent : HttpsAgent;
    (probe.modem as { agent?: HttpAgent }).agent = new Agent({ keepAlive: false });
    this.#liveness = new Liveness(config.timeoutMillis, (signal) => ping(probe, signal));
    this.#api = this.#newApi();
  }

  /** The API at the negotiated version. */
  get api(): DockerApi {
    return this.#api;
  }

  /** Whether dockerd sees the file system that nap sees: it is reached by a socket of this host. */
  get sameHost(): boolean {
    return this.#config.url.startsWith("unix:");
  }

  /** The version of the API that is spoken. */
  get apiVersion(): string {
    return this.#connected?.apiVersion ?? oldestApi;
  }

  /**
   * Whether dockerd runs on nap's own host and nap is root there, so that nap reaches the processes of
   * its containers. A socket alone may be mounted into a container or lead elsewhere.
   */
  get ownHost(): boolean {
    return this.#ownHost;
  }

  /** Whether the version of the API that is spoken is not newer than this one. */
  apiVersionAtMost(version: string): boolean {
    return minVersion(this.apiVersion, version) === this.apiVersion;
  }

  /** Connects where that has not been done, or where `fresh` says to look anew. */
  async connect(signal: AbortSignal, fresh = false): Promise<Connection> {
    if (this.#connected !== undefined && !fresh) return this.#connected;
    try {
      return (this.#connected = await this.#negotiate(signal));
    } catch (error) {
      this.#connected = undefined;
      signal.throwIfAborted();
      const isUnreachable = error instanceof NapError && error.reason === "ENGINE_UNREACHABLE";
      throw isUnreachable ? error : unreachable(this.#config.url, error);
    }
  }

  /** How long dockerd may be silent. */
  get timeoutMillis(): number {
    return this.#config.timeoutMillis;
  }

  /** The error for a dockerd that cannot be used, and why. */
  unreachableError(reason: string): NapError {
    return unreachable(this.#config.url, new Error(reason));
  }

  /** Runs `work`, or where one under this key is under way, waits for it first. */
  async withLock<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#inFlight.get(key);
    const mine = (before ?? Promise.resolve()).catch(() => undefined).then(work);
    this.#inFlight.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#inFlight.get(key) === mine) this.#inFlight.delete(key);
    }
  }

  async #negotiate(signal: AbortSignal): Promise<Connection> {
    const unversioned = this.#newApi();
    const { body: version } = await unversioned.json<VersionJson>({ path: "/version" }, signal);
    const apiVersion = minVersion(version.ApiVersion, newestApi);
    if (
      minVersion(apiVersion, oldestApi) !== oldestApi ||
      minVersion(version.MinAPIVersion, newestApi) !== version.MinAPIVersion
    ) {
      const message = `Docker ${version.Version} speaks API ${version.MinAPIVersion} to ${version.ApiVersion}, nap ${oldestApi} to ${newestApi}`;
      throw new NapError("ENGINE_UNREACHABLE", message);
    }
    const previous = this.#connected;
    if (previous?.version === version.Version && previous.apiVersion === apiVersion)
      return previous;
    const api = this.#newApi(`v${apiVersion}`);
    const { body: info } = await api.json<InfoJson>({ path: "/info" }, signal);
    this.#api = api;
    const files = this.sameHost;
    this.#ownHost = files && info.Name === hostname() && process.geteuid?.() === 0;
    const support = dockerSupport(apiVersion, info, { files, processes: this.#ownHost });
    return { version: version.Version, apiVersion, support };
  }

  #newApi(version?: string): DockerApi {
    return new DockerApi(this.#newDocker(version), this.#config.url, this.#liveness);
  }

  #newDocker(version?: string): Docker {
    const { url, tls } = this.#config;
    const [, scheme, rest = ""] = /^(unix|tcp):\/\/(.+)$/.exec(url) ?? [];
    // What is left out here, docker-modem would take from the environment.
    const target =
      scheme === "unix"
        ? { socketPath: rest, host: undefined, port: undefined }
        : { socketPath: undefined, ...hostAndPort(rest) };
    const protocol = tls === undefined ? "http" : "https";
    const options = { ca: undefined, cert: undefined, key: undefined, ...tls };
    return new Docker({ ...target, protocol, ...options, version });
  }
}

/** Resolves once dockerd has begun to answer, whatever it says. */
async function ping(docker: Docker, abortSignal: AbortSignal): Promise<void> {
  const statusCodes = { 200: true };
  const dial = { method: "GET", path: "/_ping?", isStream: true, options: {}, abortSignal };
  await new Promise<void>((resolve, reject) => {
    docker.modem.dial({ ...dial, statusCodes }, (error: unknown, answer: unknown) => {
      (answer as IncomingMessage | null)?.destroy();
      const answered = !error || (error as { statusCode?: number }).statusCode !== undefined;
      if (answered) resolve();
      else reject(error);
    });
  });
}

function hostAndPort(address: string): { host: string; port: string } {
  const colon = address.lastIndexOf(":");
  // Node wants an IPv6 address without the brackets that a URL has around it.
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { host, port: address.slice(colon + 1) };
}

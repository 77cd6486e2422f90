/** The connection to one dockerd, with its negotiated API version and its unsupported features. */
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
  /** How long dockerd may be silent before calls in progress fail. */
  readonly timeoutMillis: number;
}

/** The connection of one engine. It is opened on first use, and again after it was lost. */
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
    // Each probe opens a new connection, since a kept one may be broken.
    const Agent = config.tls === undefined ? HttpAgent : HttpsAgent;
    (probe.modem as { agent?: HttpAgent }).agent = new Agent({ keepAlive: false });
    this.#liveness = new Liveness(config.timeoutMillis, (signal) => ping(probe, signal));
    this.#api = this.#newApi();
  }

  /** The API at the negotiated version. */
  get api(): DockerApi {
    return this.#api;
  }

  /** Whether dockerd and nap share a file system: it is reached by a socket of this host. */
  get sameHost(): boolean {
    return this.#config.url.startsWith("unix:");
  }

  /** The API version in use. */
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

  /** Returns whether the API version in use is this one or older. */
  apiVersionAtMost(version: string): boolean {
    return minVersion(this.apiVersion, version) === this.apiVersion;
  }

  /** Connects if there is no connection or `fresh` is true. */
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

  /** Returns the error for a dockerd that cannot be used for this reason. */
  unreachableError(reason: string): NapError {
    return unreachable(this.#config.url, new Error(reason));
  }

  /** Runs `work` while no other work runs under this key. */
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
    // docker-modem reads options that are left out here from the environment.
    const target =
      scheme === "unix"
        ? { socketPath: rest, host: undefined, port: undefined }
        : { socketPath: undefined, ...hostAndPort(rest) };
    const protocol = tls === undefined ? "http" : "https";
    const options = { ca: undefined, cert: undefined, key: undefined, ...tls };
    return new Docker({ ...target, protocol, ...options, version });
  }
}

/** Resolves once dockerd responds, with any status. */
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

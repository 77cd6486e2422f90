/** The adapter over dockerode: sends requests, reads streams, and hijacks connections. */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import type Docker from "dockerode";
import { NapError } from "../../contract/errors.js";
import { destroyOnAbort } from "../../lib/sleep.js";
import { parseAnswer } from "./response.js";
import type { Liveness } from "./liveness.js";

/** A request to dockerd's HTTP API. */
export interface DockerRequest {
  /** Default: GET. */
  readonly method?: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Below the API version, its parts already encoded. */
  readonly path: string;
  /** Undefined values are left out, lists are repeated, and objects are sent as JSON. */
  readonly query?: Readonly<Record<string, QueryValue>>;
  /** Sent as JSON. */
  readonly body?: object;
  /** Sent as it is; the sender destroys it. */
  readonly upload?: Readable;
  /** Sent as X-Registry-Auth. */
  readonly registryAuth?: object | undefined;
  /** Sent as X-Registry-Config. */
  readonly registryConfig?: object;
  /** The request changes nothing in dockerd. Default: true for GET and HEAD. */
  readonly readOnly?: boolean;
  /**
   * The response has no timeout while dockerd answers other requests. Default: true for streams and for
   * all methods but GET and HEAD, since changes can take long.
   */
  readonly allowLongRunning?: boolean;
}

type QueryValue = string | number | boolean | readonly string[] | object | undefined;

/** A response that was not streamed. */
export interface DockerResponse<T> {
  readonly status: number;
  readonly body: T;
}

/** An error status of dockerd. Unless it is mapped to another reason, it is an ENGINE_ERROR. */
export class DockerStatusError extends NapError {
  constructor(
    readonly status: number,
    /** The daemon's own message. */
    message: string,
  ) {
    super("ENGINE_ERROR", message, { engineMessage: message });
  }
}

/** docker-modem treats any other value as an error with a reason. */
const successes = { 101: true, 200: true, 201: true, 204: true, 304: true };

/** Returns whether no component of a path, as the daemon decodes it, is empty, "." or "..". */
function isPlain(path: string): boolean {
  const parts = path
    .slice(1)
    .split("/")
    .flatMap((part) => decodeURIComponent(part).split("/"));
  return parts.every((part) => part !== "" && part !== "." && part !== "..");
}

/** Encodes a name for use in a path. */
export function pathPart(name: string): string {
  return encodeURIComponent(name);
}

/** One dockerd, at one version of its API. */
export class DockerApi {
  constructor(
    private readonly docker: Docker,
    private readonly target: string,
    private readonly liveness: Liveness,
  ) {}

  /**
   * Sends a request and reads the whole response as JSON.
   *
   * Always as a stream: docker-modem 5.0 never calls back where the connection is lost behind the
   * headers of a response that it collects itself.
   */
  async json<T>(
    request: DockerRequest,
    signal = new AbortController().signal,
  ): Promise<DockerResponse<T>> {
    const { timeoutMillis } = this.liveness;
    const allowLongRunning = request.allowLongRunning ?? !isRead(request);
    const timeout = new AbortController();
    const end = (): void => timeout.abort(this.#silent(timeoutMillis));
    const timer = allowLongRunning ? undefined : setTimeout(end, timeoutMillis);
    try {
      const combined = allowLongRunning ? signal : AbortSignal.any([signal, timeout.signal]);
      const response = await this.stream(request, combined);
      const chunks: Buffer[] = [];
      for await (const chunk of this.read(response, combined)) {
        timer?.refresh();
        chunks.push(chunk);
      }
      const text = Buffer.concat(chunks).toString();
      const body = text === "" ? undefined : parseAnswer<T>(text);
      return { status: response.statusCode ?? 0, body: body as T };
    } catch (error) {
      throw markMaybeApplied(request, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a request and returns the response once its headers have arrived. The reader destroys it. */
  async stream(request: DockerRequest, signal?: AbortSignal): Promise<IncomingMessage> {
    const response = (await this.#dial(request, { isStream: true }, signal)) as IncomingMessage;
    this.#hold(response);
    return response;
  }

  /** Reads a response to its end as text. */
  async text(source: Readable, signal = new AbortController().signal): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.read(source, signal)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }

  /**
   * Sends a request and takes over its connection in both directions. The caller destroys it: an
   * abort has no effect after the upgrade.
   */
  async hijack(request: DockerRequest, signal: AbortSignal): Promise<Socket> {
    const options = { isStream: true, hijack: true, openStdin: true, allowEmpty: true };
    const socket = (await this.#dial({ body: {}, ...request }, options, signal)) as Socket;
    this.#hold(socket);
    return socket;
  }

  /** Reads a response or a hijacked connection to its end, and destroys it however the reader leaves. */
  async *read(source: Readable, signal: AbortSignal): AsyncGenerator<Buffer> {
    const release = destroyOnAbort(source, signal);
    try {
      for await (const chunk of source) yield chunk as Buffer;
    } catch (error) {
      throw this.#lost(error, signal);
    } finally {
      release();
      source.destroy();
    }
  }

  async #dial(request: DockerRequest, options: object, signal?: AbortSignal): Promise<unknown> {
    signal?.throwIfAborted();
    // dockerd would redirect such a path to another one, and docker-modem would follow.
    if (!isPlain(request.path)) throw new DockerStatusError(404, "no such object");
    // Ends the call before its response has begun: by the signal, or if dockerd is silent.
    const cancel = new AbortController();
    const onAbort = (): void => cancel.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const onSilence = (millis: number): void => cancel.abort(this.#silent(millis));
    const release = this.liveness.watch(onSilence);
    const dial = {
      ...options,
      method: request.method ?? "GET",
      path: `${request.path}?${queryString(request.query ?? {})}`,
      // docker-modem sends `options` both as query and as body, but for these two members.
      options: { _query: {}, _body: request.body ?? {} },
      ...(request.body && { allowEmpty: true }),
      ...(request.upload && { file: request.upload }),
      ...(request.registryAuth && { authconfig: request.registryAuth }),
      ...(request.registryConfig && { registryconfig: urlBase64(request.registryConfig) }),
      abortSignal: cancel.signal,
      statusCodes: successes,
    };
    try {
      const answer = await new Promise((resolve, reject) => {
        // docker-modem does not call back for every aborted request.
        cancel.signal.addEventListener("abort", () => reject(cancel.signal.reason as Error));
        this.docker.modem.dial(dial, (error: unknown, result: unknown) => {
          if (error) reject(error);
          else resolve(result);
        });
      });
      this.liveness.seen();
      return answer;
    } catch (error) {
      throw markMaybeApplied(request, this.#lost(cancel.signal.reason ?? error, signal));
    } finally {
      release();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Destroys a response that has begun once dockerd is silent. */
  #hold(answer: IncomingMessage | Socket): void {
    // The response may fail before it is read; the reader gets the error then.
    answer.on("error", () => undefined);
    answer.once(
      "close",
      this.liveness.watch((millis) => answer.destroy(this.#silent(millis))),
    );
  }

  #silent(millis: number): NapError {
    return unreachable(this.target, new Error(`nothing came from it for ${millis / 1000} s`));
  }

  /** Distinguishes an error status of the daemon from a failed connection. */
  #lost(error: unknown, signal?: AbortSignal): Error {
    if (signal?.aborted) return signal.reason as Error;
    if (error instanceof NapError) return error;
    const { statusCode, message } = error as { statusCode?: number; message: string };
    if (statusCode !== undefined) {
      this.liveness.seen();
      return new DockerStatusError(statusCode, stripModemPrefix(message));
    }
    return unreachable(this.target, error);
  }
}

function isRead({ method = "GET" }: DockerRequest): boolean {
  return method === "GET" || method === "HEAD";
}

/** The failures of a connection that was never made: nothing has been sent. */
const neverConnected: ReadonlySet<unknown> = new Set(["ECONNREFUSED", "ENOENT", "EACCES"]);

const maybeAppliedSuffix = "; the change may or may not have been applied";

/** Adds to the error of a change without a response that it may have been applied. */
function markMaybeApplied(request: DockerRequest, error: unknown): unknown {
  if (!(error instanceof NapError) || error.reason !== "ENGINE_UNREACHABLE") return error;
  if (request.readOnly ?? isRead(request)) return error;
  const { code } = (error.cause ?? {}) as { code?: unknown };
  if (neverConnected.has(code) || error.message.endsWith(maybeAppliedSuffix)) return error;
  const message = `${error.message}${maybeAppliedSuffix}`;
  return new NapError(error.reason, message, error.details, error.cause);
}

/** Returns the error for a daemon that does not respond. */
export function unreachable(target: string, cause: unknown): NapError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `Docker at ${target} does not answer: ${reason}`;
  return new NapError("ENGINE_UNREACHABLE", message, {}, cause);
}

/**
 * docker-modem 5.0 encodes this header as standard base64; dockerd expects URL-safe base64 and ignores the
 * credentials otherwise.
 */
function urlBase64(value: object): { base64: string } {
  const text = Buffer.from(JSON.stringify(value)).toString("base64");
  return { base64: text.replaceAll("+", "-").replaceAll("/", "_") };
}

/** Removes docker-modem's prefix of the daemon's message, "(HTTP code 404) unexpected - … ". */
function stripModemPrefix(message: string): string {
  return message.replace(/^\(HTTP code \d+\) \S+ - /, "").trim();
}

function queryString(query: Readonly<Record<string, QueryValue>>): string {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined) continue;
    if (Array.isArray(value)) for (const item of value) parameters.append(key, String(item));
    else parameters.append(key, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return parameters.toString();
}

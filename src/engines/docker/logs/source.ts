/** Reads a container's log from dockerd, and signals its growth. */
import type { LogEntry } from "../../../../gen/nap/v1/container_service_pb.js";
import { OutputStream } from "../../../../gen/nap/v1/types_pb.js";
import { queryTime } from "../../docker-http/time.js";
import { timestampOfNanos } from "../../../lib/time.js";
import type { DockerConnection } from "../connection.js";
import { withDockerErrors } from "../errors.js";
import type { ContainerJson } from "../../docker-http/json.js";
import { logEntries } from "./entries.js";

/** The range of a log to read. */
export interface LogRead {
  /** Only what is not older than this. Undefined or below 0: from the beginning. */
  readonly sinceNanos?: bigint;
  readonly tail?: number;
  readonly follow?: boolean;
}

/** One container's log. */
export class LogSource {
  readonly #docker: DockerConnection;
  readonly #streams: ReadonlySet<OutputStream>;
  readonly #id: string;
  readonly #tty: boolean;
  readonly #joinsParts: boolean;
  /**
   * Whether dockerd may begin a new file while it is read. A follow stream of such a log loses entries and
   * repeats others (20.10: after a rotation only the newest file is opened, and it is read again from its
   * beginning where it is smaller than the one before), while a read that does not follow is exact.
   */
  readonly rotates: boolean;
  /**
   * Whether older files are compressed. dockerd 20.10 then skips too much in a read by time: at the first
   * file that is too old it also skips the newer ones.
   */
  readonly #compresses: boolean;

  constructor(
    docker: DockerConnection,
    { Id, Config, HostConfig }: ContainerJson,
    streams: ReadonlySet<OutputStream>,
  ) {
    this.#docker = docker;
    this.#streams = streams;
    this.#id = Id;
    this.#tty = Config.Tty === true;
    const { Type, Config: options } = HostConfig.LogConfig ?? {};
    const isFile = Type === "json-file";
    this.rotates = !(isFile && (options?.["max-size"] ?? "") === "");
    this.#compresses = options?.["compress"] !== (isFile ? undefined : "false") && this.rotates;
    this.#joinsParts = Type === "local" && docker.apiVersionAtMost("1.41");
  }

  /** The entries that each read of dockerd's answer completes, of both streams only where selected. */
  async *read(
    { sinceNanos = -1n, tail, follow = false }: LogRead,
    signal: AbortSignal,
  ): AsyncGenerator<LogEntry[]> {
    const source = await this.#open(
      {
        follow,
        stdout: this.#streams.has(OutputStream.STDOUT),
        stderr: this.#streams.has(OutputStream.STDERR),
        since:
          sinceNanos < 0n || this.#compresses ? undefined : queryTime(timestampOfNanos(sinceNanos)),
        tail: tail ?? "all",
        timestamps: true,
      },
      signal,
    );
    yield* logEntries(this.#docker.api.read(source, signal), this.#tty, this.#joinsParts);
  }

  /** Yields at once, and then each time something is written, until the container stops. */
  async *growth(signal: AbortSignal): AsyncGenerator<void> {
    const query = { follow: true, stdout: true, stderr: true, tail: 0 };
    const source = await this.#open(query, signal);
    yield;
    for await (const _ of this.#docker.api.read(source, signal)) yield;
  }

  async #open(query: Record<string, string | number | boolean | undefined>, signal: AbortSignal) {
    const call = this.#docker.api.stream({ path: `/containers/${this.#id}/logs`, query }, signal);
    return withDockerErrors(call, this.#id, {
      reasons: {
        404: "CONTAINER_NOT_FOUND",
        409: "CONTAINER_NOT_FOUND",
        501: "LOG_DRIVER_NOT_READABLE",
      },
    });
  }
}

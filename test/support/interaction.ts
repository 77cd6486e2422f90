/** One bidi call of ExecContainer or AttachContainer, as a client holds it. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  AttachContainerRequestSchema,
  AttachContainerResponse,
  AttachOpenSchema,
  ExecContainerRequestSchema,
  ExecContainerResponse,
  ExecOpenSchema,
} from "../../gen/nap/v1/container_service_pb.js";
import type { ExitStatus } from "../../gen/nap/v1/types_pb.js";
import { OutputStream } from "../../gen/nap/v1/types_pb.js";
import type { Clients } from "./engines/nap.js";

type Request = MessageInitShape<typeof ExecContainerRequestSchema> &
  MessageInitShape<typeof AttachContainerRequestSchema>;
type Response = ExecContainerResponse | AttachContainerResponse;

/** Which engine and container. */
export interface Target {
  readonly nap: Clients;
  readonly engine: string;
  readonly container: string;
}

/** A call under way. What is asked of it is sent at once, in order. */
export class Interaction {
  readonly #requests: Request[] = [];
  readonly #client = new AbortController();
  #wake = (): void => undefined;
  #over = false;
  #replies: AsyncGenerator<Response>;
  stdout = "";
  stderr = "";
  exit: ExitStatus | undefined;
  execId = "";
  pid = 0;

  private constructor(
    open: Request,
    call: (requests: AsyncIterable<Request>, signal: AbortSignal) => AsyncGenerator<Response>,
  ) {
    this.#requests.push(open);
    this.#replies = call(this.#sending(), this.#client.signal);
  }

  static exec(target: Target, open: MessageInitShape<typeof ExecOpenSchema>): Interaction {
    const { nap, engine, container } = target;
    return new Interaction(
      { payload: { case: "open", value: { ...(open as object), engine, container } } },
      (requests, signal) => nap.containers.execContainer(requests, { signal }),
    );
  }

  static attach(target: Target, open: MessageInitShape<typeof AttachOpenSchema>): Interaction {
    const { nap, engine, container } = target;
    return new Interaction(
      { payload: { case: "open", value: { ...(open as object), engine, container } } },
      (requests, signal) => nap.containers.attachContainer(requests, { signal }),
    );
  }

  /** A shell script in a container. */
  static script(
    target: Target,
    script: string,
    open: Omit<MessageInitShape<typeof ExecOpenSchema>, "exec" | "$typeName"> = {},
    tty = false,
  ): Interaction {
    return Interaction.exec(target, { exec: { command: ["sh", "-c", script], tty }, ...open });
  }

  send(payload: Request["payload"]): this {
    this.#requests.push({ payload });
    this.#wake();
    return this;
  }

  write(text: string): this {
    return this.send({ case: "stdin", value: Buffer.from(text) });
  }

  closeStdin(): this {
    return this.send({ case: "closeStdin", value: {} });
  }

  /** The client sends nothing more. */
  half(): this {
    this.#over = true;
    this.#wake();
    return this;
  }

  /** The client goes away. */
  cancel(): void {
    this.#client.abort();
  }

  /** Reads one message. Undefined: that was all. */
  async next(): Promise<Response["event"] | undefined> {
    const { value, done } = await this.#replies.next();
    if (done) return undefined;
    const { event } = value as ExecContainerResponse;
    if (event.case === "started") {
      this.execId = event.value.execId;
      this.pid = Number(event.value.pid);
    }
    if (event.case === "exit") this.exit = event.value;
    if (event.case === "output") {
      for (const { stream, data } of event.value.chunks) {
        const text = Buffer.from(data).toString("latin1");
        if (stream === OutputStream.STDERR) this.stderr += text;
        else this.stdout += text;
      }
    }
    return event;
  }

  /** Reads until standard output has this. */
  async until(text: string): Promise<this> {
    while (!this.stdout.includes(text)) {
      if ((await this.next()) === undefined) throw new Error(`it ended without ${text}`);
    }
    return this;
  }

  /** Reads the first message. */
  async begun(): Promise<this> {
    await this.next();
    return this;
  }

  /** Reads everything. */
  async ended(): Promise<this> {
    while ((await this.next()) !== undefined);
    this.half();
    return this;
  }

  async *#sending(): AsyncGenerator<Request> {
    for (;;) {
      const request = this.#requests.shift();
      if (request !== undefined) yield request;
      else if (this.#over || this.#client.signal.aborted) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

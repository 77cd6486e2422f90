/** A gRPC call over bare HTTP/2, for what a client library would hide: its window, its connection. */
import type { ClientHttp2Session, ClientHttp2Stream } from "node:http2";
import { connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import type { DescMethod, Message } from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";

/** A call under way. The server may send no more than its window until it is read. */
export interface WireCall {
  readonly session: ClientHttp2Session;
  readonly stream: ClientHttp2Stream;
  /** The messages from now on. */
  messages(): AsyncGenerator<Message>;
}

/** Calls a method over a unix socket (`unix:/path`), with a window of so many bytes. */
export function wireCall(address: string, method: DescMethod, initialWindowSize: number): WireCall {
  const session = connect("http://localhost", {
    createConnection: () => connectSocket(address.replace(/^unix:/, "")),
    settings: { initialWindowSize },
  });
  session.on("error", () => undefined);
  const stream = session.request({
    ":method": "POST",
    ":path": `/${method.parent.typeName}/${method.name}`,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => undefined);
  return { session, stream, messages: () => messages(stream, method) };
}

/** Sends one message of a call. */
export function sendMessage({ stream }: WireCall, method: DescMethod, message: Message): void {
  const bytes = toBinary(method.input, message);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  stream.write(Buffer.concat([prefix, bytes]));
}

async function* messages(stream: ClientHttp2Stream, method: DescMethod): AsyncGenerator<Message> {
  let rest = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = Buffer.concat([rest, chunk as Buffer]);
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      yield fromBinary(method.output, rest.subarray(5, end));
      rest = rest.subarray(end);
    }
  }
}

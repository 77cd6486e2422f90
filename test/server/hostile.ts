/** Input that means harm: wrong bytes, floods, connections that say nothing. */
import { mkdtempSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import type { ClientHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { join } from "node:path";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { ServiceError } from "@grpc/grpc-js";
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import {
  ContainerFilterSchema,
  ListContainersRequestSchema,
} from "../../gen/nap/v1/container_service_pb.js";
import { eventually } from "../conformance/bench.js";
import { campaign, residentBytes } from "../fuzz/campaign.js";
import { failure, openChannel, RpcError } from "../support/client.js";
import type { TestNap } from "../support/engines/nap.js";
import { startNap } from "../support/engines/nap.js";
import type { DockerBench } from "../docker/cases.js";

/** Requests of the campaign that every run of the tests makes; `npm run fuzz` makes more. */
const requests = 3000;

/** Declares the cases. `open` gives their bench when the tests run. */
export function hostileCases(open: () => DockerBench): void {
  let nap: TestNap;

  before(async () => {
    const { dockerd } = open();
    const directory = mkdtempSync(join(dockerd.directory, "hostile-"));
    const docker = { driver: "docker", url: `unix://${dockerd.socket}` };
    nap = await startNap(directory, { engines: { docker }, log_level: "silent" });
  });

  after(async () => expect(await nap?.stop()).to.equal(0));

  /** A session of HTTP/2 with the server, below gRPC. */
  async function session(): Promise<ClientHttp2Session> {
    const path = nap.address.replace("unix:", "");
    const opened = connectHttp2("http://localhost", { createConnection: () => connect(path) });
    opened.on("error", () => undefined);
    await new Promise((resolve) => opened.once("connect", resolve));
    return opened;
  }

  /** Sends raw bytes as the body of a call; the status that comes back, or why none does. */
  async function post(
    body: Buffer,
    headers: Record<string, string | string[]> = {},
  ): Promise<string> {
    const opened = await session();
    const stream = opened.request({
      ":method": "POST",
      ":path": "/nap.v1.ContainerService/GetContainer",
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    try {
      return await new Promise<string>((resolve) => {
        const take = (found: Record<string, unknown>): void => {
          if (found["grpc-status"] !== undefined)
            resolve(Code[Number(found["grpc-status"])] ?? "?");
        };
        stream.on("response", take).on("trailers", take);
        stream.on("error", (error: Error) => resolve(`error ${error.message}`));
        stream.on("close", () => resolve("closed"));
        stream.on("data", () => undefined);
        stream.end(body);
      });
    } finally {
      opened.destroy();
    }
  }

  const stillServes = async (): Promise<void> => {
    await nap.containers.listContainers({ engine: "docker" });
  };

  it(`answers ${requests} random requests of all methods with a proper status, and stands`, async function () {
    this.timeout(120_000);
    const seed = Date.now() % 2 ** 31;
    const found = await campaign(nap.address, seed, requests, ["PruneImages", "RemoveImage"]);
    expect(found.improper, `seed ${seed}`).to.deep.equal([]);
    expect(found.codes["INVALID_ARGUMENT"]).to.be.greaterThan(requests / 10);
    await stillServes();
  });

  it("refuses messages that are broken, too long, or packed in an unknown way", async () => {
    const prefix = (flag: number, length: number): Buffer => {
      const bytes = Buffer.alloc(5);
      bytes[0] = flag;
      bytes.writeUInt32BE(length, 1);
      return bytes;
    };
    const garbage = Buffer.from([0xff, 0xff, 0xff, 0xff]);
    expect(await post(Buffer.concat([prefix(0, 4), garbage]))).to.equal("INVALID_ARGUMENT");
    expect(await post(prefix(0, 0xffff_ffff))).to.equal("RESOURCE_EXHAUSTED");
    // gzip's first bytes and nothing behind them: a client's fault, in whatever words.
    const packed = Buffer.concat([prefix(1, 4), Buffer.from([0x1f, 0x8b, 8, 0])]);
    expect(await post(packed, { "grpc-encoding": "gzip" })).not.to.equal("OK");
    expect(await post(Buffer.concat([prefix(1, 4), garbage]), { "grpc-encoding": "no" })).to.equal(
      "UNIMPLEMENTED",
    );
    await stillServes();
  });

  it("refuses a message of more than 4 MiB, and groups within groups without end", async () => {
    const container = "x".repeat(5 * 1024 * 1024);
    const error = await failure(nap.containers.getContainer({ engine: "docker", container }));
    expect(error.code).to.equal(Code.RESOURCE_EXHAUSTED);
    const groups = Buffer.alloc(250_000, 0x0b);
    const prefix = Buffer.from([0, 0, 0, 0, 0]);
    prefix.writeUInt32BE(groups.length, 1);
    expect(await post(Buffer.concat([prefix, groups]))).to.equal("INVALID_ARGUMENT");
    await stillServes();
  });

  it("refuses a request that is larger than its method takes, and says how large it may be", async () => {
    const container = "x".repeat(256 * 1024);
    const error = await failure(nap.containers.getContainer({ engine: "docker", container }));
    expect(error).to.include({ code: Code.RESOURCE_EXHAUSTED, reason: "REQUEST_TOO_LARGE" });
    expect(error.message).to.match(/has 2621\d\d bytes; GetContainer takes at most 262144$/);
    const stdin = new Uint8Array(1024 * 1024);
    const exec = { command: ["true"] };
    const request = { engine: "docker", container: "none", exec, stdin };
    const long = await failure(nap.containers.execContainerSync(request));
    expect(long.reason).to.equal("REQUEST_TOO_LARGE");
    const fitting = { ...request, stdin: stdin.subarray(1024) };
    const missing = await failure(nap.containers.execContainerSync(fitting));
    expect(missing.reason).to.equal("CONTAINER_NOT_FOUND");
    await stillServes();
  });

  it("refuses many bad values, told in a few, while it serves others and holds its memory", async () => {
    const base = residentBytes(nap.pid);
    const raw = (bytes: Buffer): Buffer => bytes;
    const { number: filter } = ListContainersRequestSchema.field.filter;
    const { number: states } = ContainerFilterSchema.field.states;
    const requestOf = (count: number): Uint8Array => {
      const packed = new BinaryWriter()
        .tag(states, WireType.LengthDelimited)
        .bytes(Buffer.alloc(count, 99));
      return new BinaryWriter()
        .tag(filter, WireType.LengthDelimited)
        .bytes(packed.finish())
        .finish();
    };
    // Half of them are as large as the method takes, and half as large as gRPC takes.
    const requests = [256 * 1024, 4 * 1024 * 1024].map((size) => requestOf(size - 100));
    const channels = Array.from({ length: 6 }, () => openChannel(nap.address));
    try {
      const refusals = channels.map(
        (channel, n) =>
          new Promise<RpcError>((resolve, reject) => {
            const path = "/nap.v1.ContainerService/ListContainers";
            const stream = channel.makeBidiStreamRequest(path, raw, raw);
            stream.on("error", (error: ServiceError) =>
              resolve(new RpcError(error, ListContainersRequestSchema)),
            );
            stream.on("end", () => reject(new Error("it was not refused")));
            stream.on("data", () => undefined);
            stream.write(Buffer.from(requests[n % 2]!));
            stream.end();
          }),
      );
      // Each fails where the server does nothing else for so long.
      for (let n = 0; n < 50; n++) await nap.engines.listEngines({}, { timeoutMillis: 5000 });
      for (const [n, refusal] of refusals.entries()) {
        const { code, reason, fields } = await refusal;
        if (n % 2 === 1) {
          expect(reason).to.equal("REQUEST_TOO_LARGE");
          continue;
        }
        expect(code).to.equal(Code.INVALID_ARGUMENT);
        expect(reason).to.equal("FIELD_INVALID");
        expect(fields).to.deep.equal(["filter.states"]);
      }
    } finally {
      for (const channel of channels) channel.close();
    }
    await eventually(() => residentBytes(nap.pid) - base < 150 * 1024 * 1024 || undefined);
  });

  it("refuses a flood of headers", async () => {
    const flood: Record<string, string> = {};
    for (let n = 0; n < 2000; n++) flood[`x-${n}`] = "y".repeat(100);
    const answer = await post(Buffer.alloc(0), flood);
    expect(answer).not.to.equal("OK");
    await stillServes();
  });

  it("serves on beside connections that say nothing, or no HTTP/2, and forgets them", async () => {
    const path = nap.address.replace("unix:", "");
    const before = nap.openFiles().length;
    const silent: Socket[] = [];
    for (let n = 0; n < 300; n++) {
      const socket = connect(path);
      socket.on("error", () => undefined);
      if (n % 3 === 1) socket.write("GET / HTTP/1.1\r\n\r\n");
      if (n % 3 === 2) socket.write(Buffer.alloc(1000, 0xff));
      silent.push(socket);
    }
    await stillServes();
    for (const socket of silent) socket.destroy();
    await eventually(() => nap.openFiles().length <= before + 2 || undefined);
  });

  it("holds a bounded memory while clients open streams and reset them at once", async () => {
    const base = residentBytes(nap.pid);
    for (let round = 0; round < 20; round++) {
      const opened = await session();
      for (let n = 0; n < 200; n++) {
        const stream = opened.request({
          ":method": "POST",
          ":path": "/nap.v1.EngineService/StreamEvents",
          "content-type": "application/grpc",
          te: "trailers",
        });
        stream.on("error", () => undefined);
        stream.close(8);
      }
      // The server answers this after all that came before it, or has ended the session by then.
      await new Promise((resolve) => {
        opened.once("close", resolve);
        opened.ping(resolve);
      });
      opened.destroy();
    }
    await stillServes();
    expect(residentBytes(nap.pid) - base).to.be.below(150 * 1024 * 1024);
  });
}

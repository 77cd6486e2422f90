/** What is shown of measurements on Docker for all engines. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import type { StreamContainerStatsResponse } from "../../gen/nap/v1/container_service_pb.js";
import {
  ContainerService,
  StreamContainerStatsRequestSchema,
} from "../../gen/nap/v1/container_service_pb.js";
import { failure } from "../support/client.js";
import { sendMessage, wireCall } from "../support/wire.js";
import type { DockerBench } from "./cases.js";
import { connectionsTo } from "../support/connections.js";
import { eventually } from "../conformance/bench.js";
import { skippedTicksIn } from "../support/batches.js";

const engine = "docker";

/** Declares the cases. `open` gives their bench when the tests run. */
export function dockerStatsCases(open: () => DockerBench): void {
  it("says how many ticks were left out for a reader that paused", async () => {
    const { nap, bench } = open();
    const { id } = await bench.start({});
    const method = ContainerService.method.streamContainerStats;
    // A window of a few bytes, so that what is unread stops the server at once.
    const call = wireCall(nap.address, method, 16);
    try {
      const request = { engine, filter: { ids: [id] } };
      sendMessage(call, method, create(StreamContainerStatsRequestSchema, request));
      call.stream.end();
      await new Promise((resolve) => setTimeout(resolve, 4000));
      let skipped = 0;
      for await (const message of call.messages()) {
        skipped = skippedTicksIn(message as StreamContainerStatsResponse);
        if (skipped > 0) break;
      }
      expect(skipped).to.be.at.least(1);
    } finally {
      call.session.destroy();
    }
  });

  it("refuses an interval in which Docker would measure nothing new", async () => {
    const { nap } = open();
    for (const nanos of [0, 999_999_999]) {
      const interval = { seconds: 0n, nanos };
      const error = await failure(nap.containers.streamContainerStats({ engine, interval }).next());
      expect(error).to.include({ reason: "FIELD_UNSUPPORTED_BY_ENGINE" });
      expect(error.fields).to.deep.equal(["interval"]);
    }
  });

  it("leaves no connection to dockerd when measuring is cancelled", async () => {
    const { nap, dockerd, bench } = open();
    const { id } = await bench.start({});
    const filter = { ids: [id] };
    const before = connectionsTo(dockerd, nap);
    const abort = new AbortController();
    const streams = Array.from({ length: 20 }, async () => {
      const { signal } = abort;
      for await (const tick of nap.containers.streamContainerStats(
        { engine, filter },
        { signal },
      )) {
        void tick;
      }
    });
    for (const stream of streams) stream.catch(() => undefined);
    await eventually(() => (connectionsTo(dockerd, nap) >= before + 10 ? true : undefined));
    abort.abort();
    await Promise.allSettled(streams);
    await eventually(() => (connectionsTo(dockerd, nap) <= before + 1 ? true : undefined));
  });
}

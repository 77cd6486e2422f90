/** Events are converted from dockerd's JSON. */
import { expect } from "chai";
import { eventOf } from "./event.js";

describe("events of dockerd", () => {
  it("reads the time of an event to the nanosecond, and its exit code", () => {
    const event = eventOf(
      "docker",
      '{"status":"die","id":"a","Type":"container","Action":"die","Actor":{"ID":"a","Attributes":' +
        '{"exitCode":"3","name":"n"}},"scope":"local","time":1795485776,"timeNano":1795485776957409177}',
    );
    expect(event.time).to.include({ seconds: 1_795_485_776n, nanos: 957_409_177 });
    expect(event.details.case === "exit" && event.details.value.code).to.equal(3);
  });
});

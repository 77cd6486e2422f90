/** Lists of processors are read. */
import { expect } from "chai";
import { cpusetNumbers } from "./resources.js";

describe("resources", () => {
  it("reads lists of processors", () => {
    expect(cpusetNumbers("0-3,7")).to.deep.equal([0, 1, 2, 3, 7]);
  });
});

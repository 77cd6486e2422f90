/** What dockerd reports of volumes, compared with what they were to be. */
import { create } from "@bufbuild/protobuf";
import { expect } from "chai";
import { VolumeSpecSchema } from "../../../../gen/nap/v1/container_spec_pb.js";
import { sameSpec, volumeFromDocker } from "./volume.js";
import type { VolumeJson } from "../json.js";

/** As dockerd 26.1.5 answers the creation of a volume without a name. */
const unnamed: VolumeJson = {
  CreatedAt: "2026-11-24T18:23:11Z",
  Driver: "local",
  Labels: { a: "b", "com.docker.volume.anonymous": "", "nap.v1.owner": "x" },
  Mountpoint: "/var/lib/docker/volumes/5688759d/_data",
  Name: "5688759d",
  Options: {},
  Scope: "local",
};

const same = (json: VolumeJson, labels: Record<string, string>): boolean =>
  sameSpec(json, create(VolumeSpecSchema, { labels }));

describe("mapping of volumes", () => {
  it("takes the label that dockerd gives to a volume without a name for no difference", () => {
    expect(same(unnamed, { a: "b" })).to.equal(true);
    expect(same(unnamed, { a: "b", "com.docker.volume.anonymous": "" })).to.equal(true);
    const bare = { ...unnamed, Labels: { "com.docker.volume.anonymous": "" } };
    expect(sameSpec(bare, undefined)).to.equal(true);
  });

  it("takes other labels, and another value of that label, for a difference", () => {
    expect(same(unnamed, {})).to.equal(false);
    expect(same(unnamed, { a: "b", c: "d" })).to.equal(false);
    expect(same(unnamed, { a: "b", "com.docker.volume.anonymous": "x" })).to.equal(false);
    const named = { ...unnamed, Labels: { a: "b" } };
    expect(same(named, { a: "b", "com.docker.volume.anonymous": "" })).to.equal(false);
  });

  it("shows the label as dockerd's own clients do", () => {
    const labels = { a: "b", "com.docker.volume.anonymous": "" };
    expect(volumeFromDocker("docker", unnamed).spec?.labels).to.deep.equal(labels);
  });

  it("takes a driver without a name for the default one", () => {
    const spec = create(VolumeSpecSchema, { driver: "" });
    expect(sameSpec({ ...unnamed, Labels: null }, spec)).to.equal(true);
  });
});

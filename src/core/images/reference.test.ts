/** Image references are parsed and written. */
import { expect } from "chai";
import * as fc from "fast-check";
import { isRegistryOf, parseReference, referenceText } from "./reference.js";

describe("references", () => {
  for (const [text, name, tag] of [
    ["a", "a", "latest"],
    ["a:1", "a", "1"],
    ["host:5000/a", "host:5000/a", "latest"],
    ["host:5000/a/b:1", "host:5000/a/b", "1"],
    ["a@sha256:00", "a", "sha256:00"],
    ["host:5000/a:1@sha256:00", "host:5000/a", "sha256:00"],
  ] as const) {
    it(`takes the reference ${text} apart`, () => {
      expect(parseReference(text)).to.include({ name, tag });
    });
  }

  for (const [text, registry, other] of [
    ["busybox", "docker.io", "busybox"],
    ["nap/busybox:1", "index.docker.io", "nap"],
    ["docker.io/nap/busybox", "Docker.IO", "quay.io"],
    ["localhost/a", "localhost", "docker.io"],
    ["127.0.0.1:5000/a/b:1", "127.0.0.1:5000", "127.0.0.1:5001"],
    ["Quay.io/a@sha256:00", "quay.io", "quay.io:443"],
    ["[::1]:5000/a", "[::1]:5000", "[::1]"],
  ] as const) {
    it(`knows the registry of ${text} from another`, () => {
      expect(isRegistryOf(text, registry)).to.equal(true);
      expect(isRegistryOf(text, other)).to.equal(false);
      expect(isRegistryOf(text, "")).to.equal(false);
    });
  }

  it("puts any reference together again", () => {
    const word = fc.stringMatching(/^[a-z0-9]{1,8}$/);
    const host = fc.option(
      fc.tuple(word, fc.nat(65_535)).map(([name, port]) => `${name}:${port}/`),
    );
    fc.assert(
      fc.property(host, word, word, fc.constantFrom(":", "@sha256:"), (at, name, tag, joint) => {
        const text = `${at ?? ""}${name}${joint}${tag}`;
        expect(referenceText(parseReference(text))).to.equal(text);
      }),
    );
  });
});

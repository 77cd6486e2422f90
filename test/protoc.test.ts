/** The contract with plain protoc, which people have who use neither buf nor TypeScript. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";

const proto = join(import.meta.dirname, "..", "proto");

describe("contract", () => {
  for (const [language, directory, ...plugins] of [
    ["Python", "nap/v1", "--python_out"],
    ["Go", "github.com/icsnju/nap/clients/go/nap/v1", "--go_out", "--go-grpc_out"],
    ["Java", "io/github/icsnju/nap/v1", "--java_out"],
  ] as const) {
    it(`is compiled for ${language} by plain protoc`, () => {
      const out = mkdtempSync(join(tmpdir(), "nap-protoc-"));
      try {
        const sources = readdirSync(join(proto, "nap/v1")).map((name) => `nap/v1/${name}`);
        execFileSync("protoc", [
          "-I",
          proto,
          ...plugins.map((plugin) => `${plugin}=${out}`),
          ...sources,
        ]);
        const made = readdirSync(join(out, directory));
        expect(made.length).to.be.at.least(sources.length);
      } finally {
        rmSync(out, { recursive: true });
      }
    });
  }
});

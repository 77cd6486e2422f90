/** The configuration: file, command line and environment. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { ConfigError, discoverEngines, loadConfig } from "../../src/config.js";

describe("configuration", () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "nap-config-"))));
  afterEach(() => rmSync(directory, { recursive: true }));

  function file(text: string): string {
    const path = join(directory, "nap.yaml");
    writeFileSync(path, text);
    return path;
  }

  it("reads engines with certificates beside the file", () => {
    writeFileSync(join(directory, "c.pem"), "pem");
    const config = loadConfig({
      config: file(`
        default_engine: web1
        listen: ["unix:///tmp/x.sock"]
        engines:
          web1: {driver: docker, url: "tcp://10.0.0.7:2376", tls: {ca: c.pem, cert: c.pem, key: c.pem}}
          web2: {driver: docker, url: "unix:///run/docker.sock"}`),
    });
    expect(config.engines.map(({ name }) => name)).to.deep.equal(["web1", "web2"]);
    const [first] = config.engines;
    expect(first?.driver === "docker" && first.tls?.key?.toString()).to.equal("pem");
    expect(config).to.deep.include({
      defaultEngine: "web1",
      listen: [{ kind: "unix", path: "/tmp/x.sock" }],
    });
  });

  for (const [claim, text, words] of [
    [
      "an engine's name with a capital",
      "engines: {Web: {driver: docker, url: unix:///x}}",
      /engines/,
    ],
    ["a driver that does not exist", "engines: {web: {driver: vm, url: unix:///x}}", /driver/],
    ["a url that cannot be", "engines: {web: {driver: docker, url: 'http://x'}}", /url: must be/],
    ["a key that means nothing", "engine: {}", /engine/],
    ["a default that is no engine", "engines: {}\ndefault_engine: web", /no engine "web"/],
    ["text that is no YAML", "engines: [", /nap\.yaml/],
    ["a bind root's name with a capital", "bind_roots: {Mfs: {path: /m}}", /bind_roots/],
    ["a bind root without a path", "bind_roots: {mfs: {}}", /bind_roots\.mfs\.path/],
    ["a bind root that is relative", "bind_roots: {mfs: {path: m}}", /bind_roots\.mfs\.path/],
    ["a bind root that is all of the host", "bind_roots: {mfs: {path: /}}", /below \//],
    ["a bind root with an empty part", "bind_roots: {mfs: {path: /m//x}}", /empty parts/],
    ["a bind root with ..", "bind_roots: {mfs: {path: /m/../x}}", /"\.\."/],
    ["an identity within a part", "bind_roots: {mfs: {path: '/m/a-{identity}'}}", /whole part/],
    ["another word in braces", "bind_roots: {mfs: {path: '/m/{user}'}}", /no other braces/],
    [
      "a key of a bind root that means nothing",
      "bind_roots: {mfs: {path: /m, trusted: true}}",
      /bind_roots\.mfs: .*trusted/,
    ],
    [
      "a bind root that containers of another one could replace",
      "bind_roots: {all: {path: /m}, one: {path: '/m/{identity}'}}",
      /bind_roots\.one: lies below the bind root "all"/,
    ],
    [
      "a bind root below another one for some identity alone",
      "bind_roots: {own: {path: '/m/{identity}'}, deep: {path: /m/local/x}}",
      /bind_roots\.deep: lies below/,
    ],
  ] as const) {
    it(`refuses ${claim}, and says where`, () => {
      expect(() => loadConfig({ config: file(text) })).to.throw(ConfigError, words);
    });
  }

  it("reads bind roots, whose content is not trusted unless that is said", () => {
    const bindRoots = (text: string): object =>
      Object.fromEntries(
        loadConfig({ config: file(`engines: {}\nbind_roots: ${text}`) }).bindRoots,
      );
    expect(
      bindRoots("{mfs: {path: '/mnt/mfs/{identity}'}, own: {path: /m, trusted_content: true}}"),
    ).to.deep.equal({
      mfs: { path: "/mnt/mfs/{identity}", trustedContent: false },
      own: { path: "/m", trustedContent: true },
    });
    for (const [outer, inner] of [
      [true, false],
      [false, true],
    ]) {
      const all = `all: {path: /m, trusted_content: ${outer}}`;
      const one = `one: {path: '/m/{identity}', trusted_content: ${inner}}`;
      expect(bindRoots(`{${all}, ${one}}`)).to.have.keys("all", "one");
    }
    expect(bindRoots("{one: {path: /m/a}, two: {path: /m/ab}, same: {path: /m/a}}")).to.have.keys(
      "one",
      "two",
      "same",
    );
    expect(loadConfig({ config: file("engines: {}") }).bindRoots.size).to.equal(0);
  });

  it("refuses a file that is not there", () => {
    expect(() => loadConfig({ config: join(directory, "no") })).to.throw(ConfigError, /ENOENT/);
  });

  it("refuses to listen on TCP unless told that it is insecure", () => {
    const listen = ["127.0.0.1:7777"];
    expect(() => loadConfig({ listen })).to.throw(ConfigError, /--insecure/);
    expect(loadConfig({ listen, insecure: true }).listen).to.deep.equal([
      { kind: "tcp", target: "127.0.0.1:7777" },
    ]);
    expect(() => loadConfig({ listen: ["nonsense"] })).to.throw(ConfigError, /neither/);
  });

  it("finds Docker by DOCKER_HOST, then by the context, then at its usual socket", () => {
    for (const [host, url] of [
      ["tcp://h:1", "tcp://h:1"],
      ["tcp://h", "tcp://h:2375"],
      ["tcp://[::1]", "tcp://[::1]:2375"],
      ["unix:///x.sock", "unix:///x.sock"],
    ] as const) {
      expect(discoverEngines({ DOCKER_HOST: host })[0].url).to.equal(url);
    }
    for (const host of ["ssh://user@h", "http://h:1", "nonsense"]) {
      expect(() => discoverEngines({ DOCKER_HOST: host })).to.throw(ConfigError, /DOCKER_HOST/);
    }
    const secure = {
      DOCKER_HOST: "tcp://h:1",
      DOCKER_TLS_VERIFY: "1",
      DOCKER_CERT_PATH: directory,
    };
    expect(() => discoverEngines(secure)).to.throw(ConfigError, /ca\.pem/);
    const id = createHash("sha256").update("far").digest("hex");
    mkdirSync(join(directory, "contexts", "meta", id), { recursive: true });
    writeFileSync(join(directory, "config.json"), '{"currentContext": "far"}');
    const metadata = { Name: "far", Endpoints: { docker: { Host: "tcp://far:2376" } } };
    writeFileSync(join(directory, "contexts", "meta", id, "meta.json"), JSON.stringify(metadata));
    expect(discoverEngines({ DOCKER_CONFIG: directory })[0]?.url).to.equal("tcp://far:2376");
    const env = { DOCKER_CONFIG: directory, DOCKER_CONTEXT: "default" };
    expect(discoverEngines(env)[0]).to.include({ name: "docker", driver: "docker" });
    expect(discoverEngines(env)[0]?.url).to.match(/^unix:\/\/\/.*docker\.sock$/);
  });
});

/** The configuration: file, command line and environment. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import type { Config, ServeFlags } from "./config.js";
import { loadConfig } from "./config.js";
import { discoverEngines } from "./discover.js";
import { ConfigError } from "./error.js";

describe("configuration", () => {
  let directory: string;
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "nap-config-"))));
  afterEach(() => rmSync(directory, { recursive: true }));

  /** Loads a configuration with a directory for sockets, which not every environment sets. */
  function load(flags: ServeFlags): Config {
    return loadConfig(flags, { ...process.env, XDG_RUNTIME_DIR: directory });
  }

  function file(text: string): string {
    const path = join(directory, "nap.yaml");
    writeFileSync(path, text);
    return path;
  }

  it("reads engines with certificates beside the file", () => {
    writeFileSync(join(directory, "c.pem"), "pem");
    const config = load({
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
    expect(config.defaultEngine).to.equal("web1");
    expect(config.listen).to.have.length(1);
    expect(config.listen[0]).to.include({ kind: "unix", path: "/tmp/x.sock", mode: 0o660 });
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
      expect(() => load({ config: file(text) })).to.throw(ConfigError, words);
    });
  }

  it("gives identities what the file says, and little where it says nothing", () => {
    const hash = `sha256:${"0".repeat(64)}`;
    const { listen, credentials } = load({
      config: file(`
        listen:
          - {address: "unix:///tmp/x.sock", owner: 7, group: nogroup, mode: "0600", identity: ops}
          - {address: "0.0.0.0:7443", tls: {cert: c.pem, key: k.pem, client_ca: /ca.pem}}
          - "127.0.0.1:7080"
        identities:
          ops: {role: operate, engines: [web*], certificates: ["spiffe://a/ops"]}
          root: {role: admin, token_hashes: ["${hash}"]}
        engines: {web: {driver: docker, url: "unix:///x"}}`),
    });
    const ops = {
      name: "ops",
      role: "operate",
      engines: ["web*"],
      bindRoots: [],
      privilegedOptions: false,
      imageChanges: false,
      ownResourcesOnly: false,
      maxCalls: 1000,
    } as const;
    expect(credentials.certificates.get("spiffe://a/ops")).to.deep.equal(ops);
    expect(credentials.tokens.get("0".repeat(64))).to.deep.include({
      bindRoots: ["*"],
      privilegedOptions: true,
      imageChanges: true,
    });
    const [socket, secure, plain] = listen;
    expect(socket).to.include({ owner: "7", group: "nogroup", mode: 0o600 });
    expect(socket?.fallback).to.deep.equal(ops);
    expect(secure).to.deep.include({
      fallback: undefined,
      tls: {
        cert: join(directory, "c.pem"),
        key: join(directory, "k.pem"),
        clientCa: "/ca.pem",
        clientCertificateRequired: true,
      },
    });
    expect(plain?.fallback).to.equal(undefined);
  });

  const token = `identities: {a: {role: read, token_hashes: ["sha256:${"1".repeat(64)}"]}}`;
  const tls = "tls: {cert: c, key: k}";
  for (const [claim, text, words] of [
    ["TLS alone, which lets in anybody", `listen: [{address: "1.2.3.4:1", ${tls}}]`, /--insecure/],
    ["tokens in the clear beyond this host", `listen: ["1.2.3.4:1"]\n${token}`, /in the clear/],
    [
      "an identity for whoever reaches a port",
      `listen: [{address: "1.2.3.4:1", ${tls}, identity: a}]\n${token}`,
      /--insecure/,
    ],
    ["a listener's identity that is none", 'listen: [{address: "unix:///x", identity: b}]', /"b"/],
    ["a mode that is none", 'listen: [{address: "unix:///x", mode: "0999"}]', /listen/],
    ["TLS on a unix socket", `listen: [{address: "unix:///x", ${tls}}]`, /no tls/],
    ["an owner of a port", `listen: [{address: "127.0.0.1:1", owner: a}]\n${token}`, /unix socket/],
    ["a token that is not hashed", "identities: {a: {role: read, token_hashes: [x]}}", /sha256:/],
    ["a role that does not exist", "identities: {a: {role: root}}", /role/],
    [
      "an identity's name that may not stand in a path",
      "identities: {../a: {role: read}}",
      /identities/,
    ],
    [
      "one certificate for two identities",
      "identities: {a: {role: read, certificates: [x]}, b: {role: read, certificates: [x]}}",
      /"x" is the identity "a"/,
    ],
  ] as const) {
    it(`refuses ${claim}`, () => {
      expect(() => load({ config: file(`engines: {}\n${text}`) })).to.throw(ConfigError, words);
    });
  }

  it("reads bind roots, whose content is not trusted unless that is said", () => {
    const bindRoots = (text: string): object =>
      Object.fromEntries(load({ config: file(`engines: {}\nbind_roots: ${text}`) }).bindRoots);
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
    expect(load({ config: file("engines: {}") }).bindRoots.size).to.equal(0);
  });

  it("refuses a file that is not there", () => {
    expect(() => load({ config: join(directory, "no") })).to.throw(ConfigError, /ENOENT/);
  });

  it("refuses to listen on TCP unless told that it is insecure", () => {
    const listen = ["127.0.0.1:7777"];
    expect(() => load({ listen })).to.throw(ConfigError, /--insecure/);
    const [insecure] = load({ listen, insecure: true }).listen;
    expect(insecure).to.include({ kind: "tcp", host: "127.0.0.1", port: 7777, tls: undefined });
    expect(insecure?.fallback?.name).to.equal("local");
    expect(() => load({ listen: ["nonsense"] })).to.throw(ConfigError, /neither/);
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

/** A registry beside a test's dockerd that refuses everybody. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import Docker from "dockerode";
import type { TestDockerd } from "./dockerd.js";

/** A running registry. What it says depends on the repository. */
export interface RefusingRegistry {
  /** Where it answers 403: with a registry's error below `denied/`, with a bare text elsewhere. */
  readonly host: string;
  /** Where it shows a certificate of an authority that dockerd does not know. */
  readonly secureHost: string;
  stop(): Promise<void>;
}

/** The program that runs in dockerd's network, where nothing else can listen for dockerd. */
const program = `
const { readFileSync } = require("node:fs");
const [cert, key] = process.argv.slice(1).map((path) => readFileSync(path));
const errors = [{ code: "DENIED", message: "requested access to the resource is denied" }];
const answer = ({ url }, response) => {
  if (url === "/v2/") return response.end("{}");
  const type = url.includes("/denied/") ? "application/json" : "text/plain";
  response.writeHead(403, { "content-type": type });
  response.end(url.includes("/denied/") ? JSON.stringify({ errors }) : "no");
};
const plain = require("node:http").createServer(answer);
const secure = require("node:https").createServer({ cert, key }, answer);
plain.listen(0, "127.0.0.1", () =>
  secure.listen(0, () => console.log(plain.address().port + " " + secure.address().port)),
);
process.stdin.on("end", () => process.exit()).resume();
`;

/** Starts one. It ends with this process, however that ends. */
export async function startRefusingRegistry(dockerd: TestDockerd): Promise<RefusingRegistry> {
  const { serverCert, serverKey } = dockerd.certificates;
  const node = [process.execPath, "-e", program, serverCert, serverKey];
  const child = spawn("nsenter", ["-t", String(dockerd.initPid), "-n", ...node], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const [ports] = (await once(child.stdout, "data")) as [Buffer];
  const [plain, secure] = ports.toString().trim().split(" ");
  const docker = new Docker({ socketPath: dockerd.socket, host: undefined, port: undefined });
  const { IPAM } = await docker.getNetwork("bridge").inspect();
  const address = IPAM?.Config?.[0]?.["Subnet"]?.replace(/\.0\/\d+$/, ".1") ?? "";
  return {
    host: `127.0.0.1:${plain}`,
    // dockerd looks at no certificate of a registry at a loopback address.
    secureHost: `${address}:${secure}`,
    stop: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

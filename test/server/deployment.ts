/** The ways in which nap is deployed: the unit for systemd and the container image. */
import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import Docker from "dockerode";
import type { DockerBench } from "../docker/cases.js";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..", "..");

/** Declares the cases. `open` gives their bench when the tests run. */
export function deploymentCases(open: () => DockerBench): void {
  it("has a unit in which systemd finds nothing wrong", async () => {
    const unit = join(root, "deploy", "nap.service");
    const { stdout, stderr } = await run("systemd-analyze", ["verify", unit]);
    expect(stdout + stderr).not.to.include("nap.service");
  });

  it("has an image that is made of local files alone, runs, and reaches its host's Docker", async function () {
    this.timeout(180_000);
    const { dockerd, bench } = open();
    const docker = new Docker({ socketPath: dockerd.socket, host: undefined, port: undefined });
    const context = spawn("sh", [join(root, "scripts", "image.sh")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const image = "nap-image:test";
    const progress = await docker.buildImage(context.stdout, { t: image });
    await new Promise<void>((resolve, reject) => {
      docker.modem.followProgress(progress, (error) => (error ? reject(error) : resolve()));
    });
    bench.cleanUp(() => docker.getImage(image).remove({ force: true }));
    const { stdout } = await bench.runImage(image, {}, ["--version"]);
    expect(stdout).to.match(/^nap \d+\.\d+\.\d+\n$/);
    const hostPath = { case: "hostPath" as const, value: dockerd.socket };
    const source = { case: "bind" as const, value: { origin: hostPath } };
    const mounts = [{ target: "/var/run/docker.sock", source }];
    const checked = await bench.runImage(image, { mounts }, ["check"]);
    expect(checked.stdout).to.match(/^nap: engine "docker" \(docker\): answers, version /);
  });
}

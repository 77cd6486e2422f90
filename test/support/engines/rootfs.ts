/** A small image for tests: busybox, perl for UDP, a few users, and files that are odd on purpose. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";

const busybox = "/bin/busybox";
/** Debian always has it, and busybox has nothing that answers over UDP. */
const perl = "/usr/bin/perl";

/** The root file system as a tar archive. */
export async function rootfsArchive(): Promise<Buffer> {
  const tar = pack();
  const date = new Date(0);
  const directory = (name: string, mode = 0o755, uid = 0): void => {
    tar.entry({ name, type: "directory", mode, uid, gid: uid, mtime: date });
  };
  const file = (name: string, content: string | Buffer, mode = 0o644): void => {
    tar.entry({ name, mode, mtime: date }, content);
  };
  for (const name of ["bin", "etc", "root", "proc", "sys", "dev", "data", "home"]) directory(name);
  directory("tmp", 0o1777);
  directory("home/app", 0o755, 1000);
  file("bin/busybox", readFileSync(busybox), 0o755);
  for (const applet of execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n")) {
    if (applet === "busybox") continue;
    tar.entry({ name: `bin/${applet}`, type: "symlink", linkname: "busybox", mtime: date });
  }
  const libraries = execFileSync("ldd", [perl], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g);
  for (const path of [perl, ...[...libraries].map(([, library]) => library ?? "")]) {
    file(path.slice(1), readFileSync(path), 0o755);
  }
  file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n");
  file("etc/group", "root:x:0:\napp:x:1000:\nstaff:x:50:\n");
  file("etc/not-executable", "#!/bin/sh\n");
  file("data/seed", "from the image\n");
  tar.finalize();
  return buffer(tar);
}

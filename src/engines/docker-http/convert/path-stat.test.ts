/** Descriptions of files are converted from dockerd's JSON. */
import { expect } from "chai";
import * as fc from "fast-check";
import { FileKind } from "../../../../gen/nap/v1/types_pb.js";
import { fromGoMode, pathStat } from "./path-stat.js";

describe("descriptions of files", () => {
  it("takes Go's file modes for what they are, whatever bits are set", () => {
    const kinds = [
      [0, FileKind.REGULAR],
      [2 ** 31, FileKind.DIRECTORY],
      [2 ** 27, FileKind.SYMLINK],
      [2 ** 26, FileKind.DEVICE],
      [2 ** 26 + 2 ** 21, FileKind.DEVICE],
      [2 ** 25, FileKind.PIPE],
      [2 ** 24, FileKind.SOCKET],
      [2 ** 19, FileKind.UNSPECIFIED],
    ] as const;
    const special = { setuid: fc.boolean(), setgid: fc.boolean(), sticky: fc.boolean() };
    fc.assert(
      fc.property(
        fc.constantFrom(...kinds),
        fc.nat(0o777),
        fc.record(special),
        ([bits, kind], rwx, { setuid, setgid, sticky }) => {
          const mode =
            bits + rwx + (setuid ? 2 ** 23 : 0) + (setgid ? 2 ** 22 : 0) + (sticky ? 2 ** 20 : 0);
          const permissions =
            rwx + (setuid ? 0o4000 : 0) + (setgid ? 0o2000 : 0) + (sticky ? 0o1000 : 0);
          expect(fromGoMode(mode)).to.deep.equal({ kind, permissions });
        },
      ),
    );
  });

  it("gives a size to regular files and a target to links alone", () => {
    const stat = { name: "n", size: 7, mtime: "2026-11-24T12:51:27.353964224Z", linkTarget: "/t" };
    expect(pathStat({ ...stat, mode: 0o644 })).to.include({ sizeBytes: 7n, linkTarget: "" });
    const link = pathStat({ ...stat, mode: 2 ** 27 + 0o777 });
    expect(link).to.include({ sizeBytes: 0n, linkTarget: "/t" });
    expect(link.modifyTime?.nanos).to.equal(353_964_224);
  });
});

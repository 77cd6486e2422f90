/** Resolves users and groups by the files of an image, as Docker does. */
import { open, realpath } from "node:fs/promises";
import { constants } from "node:fs";
import { join } from "node:path";
import { fieldError } from "../../../contract/errors.js";
import type { Identity } from "../convert/bundle.js";

/** A line of passwd or group, taken apart. */
type Entry = readonly string[];

/**
 * The identity of `user`: a name or uid, with a group's name or gid behind a colon. Names stand in the
 * image's /etc/passwd and /etc/group. Fails with FIELD_INVALID where one does not.
 */
export async function resolveIdentity(
  rootfs: string,
  user: string,
  additionalGroups: readonly string[],
  field: string,
): Promise<Identity> {
  const [users, groups] = [await entries(rootfs, "passwd"), await entries(rootfs, "group")];
  const [userPart = "", groupPart] = user.split(":");
  const known = users.find(([name, , uid]) =>
    userPart === "" ? uid === "0" : name === userPart || uid === userPart,
  );
  const uid = known === undefined ? number(userPart, field) : Number(known[2]);
  const gid = groupPart === undefined ? Number(known?.[3] ?? 0) : groupId(groups, groupPart, field);
  const name = known?.[0];
  const own =
    groupPart === undefined
      ? groups.filter(([, , , members]) => members?.split(",").includes(name ?? ""))
      : [];
  const added = additionalGroups.map((group) => groupId(groups, group, "spec.additional_groups"));
  return {
    uid,
    gid,
    additionalGids: [...new Set([...own.map(([, , id]) => Number(id)), ...added])],
  };
}

function groupId(groups: readonly Entry[], group: string, field: string): number {
  const known = groups.find(([name, , gid]) => name === group || gid === group);
  return known === undefined ? number(group, field) : Number(known[2]);
}

function number(text: string, field: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  if (text === "") return 0;
  const description = `the image has no user or group "${text}"`;
  throw fieldError([{ field, description, reason: "FIELD_INVALID" }]);
}

/** A larger passwd or group is none. */
const maxFileBytes = 1024 * 1024;

/** The lines of a file of the image, which may be made to mislead: a link out of it, a pipe, a device. */
async function entries(rootfs: string, name: string): Promise<Entry[]> {
  try {
    const root = await realpath(rootfs);
    const directory = await realpath(join(root, "etc"));
    if (!directory.startsWith(`${root}/`)) return [];
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = await open(join(directory, name), flags);
    try {
      const stat = await file.stat();
      if (!stat.isFile() || stat.size > maxFileBytes) return [];
      const text = await file.readFile("utf8");
      return text.split("\n").map((line) => line.split(":"));
    } finally {
      await file.close();
    }
  } catch (error) {
    const absent = ["ENOENT", "ENOTDIR", "ELOOP", "ENXIO"];
    if (absent.includes((error as { code?: string }).code ?? "")) return [];
    throw error;
  }
}

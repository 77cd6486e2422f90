/** Looks at the connections of a server to its engine. */
import { readFileSync } from "node:fs";
import type { TestDockerd } from "./engines/dockerd.js";
import type { TestNap } from "./engines/nap.js";

/**
 * As many connections dockerd has open on its socket. Linux lists its side of each, by the path, in
 * the network namespace of whoever connected.
 */
export function connectionsTo({ socket }: TestDockerd, { pid }: TestNap): number {
  const connected = " 0001 03 ";
  const lines = readFileSync(`/proc/${pid}/net/unix`, "utf8").split("\n");
  return lines.filter((line) => line.endsWith(` ${socket}`) && line.includes(connected)).length;
}

/** The cases that must work on each engine, so that none passes by declaring things away. */
import { allCases } from "./suite.js";

/** Docker is the base: everything must work. */
export const dockerFloor: ReadonlySet<string> = new Set(allCases);

/** What the thin runC engine has: the life of containers, their output, and images of its own. */
export const runcFloor: ReadonlySet<string> = new Set(
  allCases.filter((name) =>
    [
      /^containers: (?!.*(page token|attached to))/,
      /^run: (?!.*terminal)/,
      /^logs: (?!.*(terminal|keeps none))/,
      /^exec: /,
      /^events: (?!.*volumes)/,
      /^wait: (?!.*health)/,
      /^watch: (?!.*health)/,
      /^images: (refuses an archive|tags an image|refuses to remove)/,
    ].some((pattern) => pattern.test(name)),
  ),
);

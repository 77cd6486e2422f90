/** Reads which parts of a container an update takes away. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { UpdateContainerRequest } from "../../gen/nap/v1/container_service_pb.js";
import { UpdateContainerRequestSchema } from "../../gen/nap/v1/container_service_pb.js";
import { fieldPath } from "./walk.js";

/** Fields of an update that say what to change, and not of which container. */
const changing: ReadonlySet<string> = new Set(["resources", "restart_policy"]);
/** Messages whose fields are taken away one by one. */
const divided: ReadonlySet<string> = new Set(["nap.v1.Resources", "nap.v1.BlockIo"]);

/** The paths that `clear` may name; a oneof has its own name. */
const clearablePaths: readonly string[] = [
  ...new Set(
    UpdateContainerRequestSchema.fields
      .filter(({ name }) => changing.has(name))
      .flatMap((field) => [...pathsBelow("", field)]),
  ),
];

function* pathsBelow(path: string, field: DescField): Generator<string> {
  const at = fieldPath(path, field.oneof?.name ?? field.name);
  const parts = partsOf(field);
  if (parts === undefined) yield at;
  else for (const part of parts.fields) yield* pathsBelow(at, part);
}

function partsOf({ fieldKind, message }: DescField): DescMessage | undefined {
  return fieldKind === "message" && message !== undefined && divided.has(message.typeName)
    ? message
    : undefined;
}

/** No longer path is compared with the known ones: a comparison takes time by the square of it. */
const longestGuess = 64;

/** The entries of `clear` that do not agree with the contract or with the rest of the request. */
export function* wrongClears(
  request: UpdateContainerRequest,
): Generator<[field: string, description: string]> {
  const set = new Set(setPaths("", reflect(UpdateContainerRequestSchema, request)));
  for (const [index, path] of request.clear.entries()) {
    if (set.has(path)) yield [`clear[${index}]`, `the request sets ${path}`];
    else if (!clearablePaths.includes(path)) {
      const near = nearest(path);
      const hint = near === undefined ? "" : `; did you mean ${near}?`;
      yield [`clear[${index}]`, `an update has no such path${hint}`];
    }
  }
}

function* setPaths(path: string, message: ReflectMessage): Generator<string> {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const at = fieldPath(path, field.oneof?.name ?? field.name);
    if (field.fieldKind === "message" && partsOf(field)) yield* setPaths(at, message.get(field));
    else yield at;
  }
}

/** The path that is most like another, where one is like it. */
function nearest(path: string): string | undefined {
  if (path.length > longestGuess) return undefined;
  const known = clearablePaths.map((other) => ({ other, distance: distance(path, other) }));
  const [best] = known.toSorted((a, b) => a.distance - b.distance);
  return best !== undefined && best.distance <= path.length / 3 ? best.other : undefined;
}

/** How many characters have to be changed, added or left out (Levenshtein's distance). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, character] of Array.from(a).entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (character === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

/** Checks the paths that an update clears. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { reflect } from "@bufbuild/protobuf/reflect";
import type { UpdateContainerRequest } from "../../../gen/nap/v1/container_service_pb.js";
import { UpdateContainerRequestSchema } from "../../../gen/nap/v1/container_service_pb.js";
import { fieldPath } from "../walk.js";

/** The fields of an update that change the container. */
const changing: ReadonlySet<string> = new Set(["resources", "restart_policy"]);
/** Messages whose fields are cleared individually. */
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

/**
 * The maximum length of a path for which a similar one is suggested; a comparison takes quadratic time.
 */
const longestGuess = 64;

/** Yields the violations of `clear`: unknown paths, and paths that the request also sets. */
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

/** Returns the most similar clearable path, if one is similar. */
function nearest(path: string): string | undefined {
  if (path.length > longestGuess) return undefined;
  const known = clearablePaths.map((other) => ({ other, distance: distance(path, other) }));
  const [best] = known.toSorted((a, b) => a.distance - b.distance);
  return best !== undefined && best.distance <= path.length / 3 ? best.other : undefined;
}

/** Returns the Levenshtein distance. */
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

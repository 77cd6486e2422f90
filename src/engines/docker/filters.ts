/** Converts filters to dockerd's `filters` parameter. */
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import type { ContainerFilter } from "../../../gen/nap/v1/container_service_pb.js";
import type { LabelFilter } from "../../../gen/nap/v1/types_pb.js";
import { healthWords, stateWords } from "../docker-http/convert/container/container.js";
import { portKey } from "../docker-http/convert/container/ports.js";
import { queryTime } from "../docker-http/time.js";

/** dockerd's filters: AND between keys, OR within one, but for labels, which are all demanded. */
export type Filters = Record<string, string[]>;

/** The filters that are not empty; an empty one would select nothing. */
export function filters(all: Filters): Filters {
  return Object.fromEntries(Object.entries(all).filter(([, values]) => values.length > 0));
}

/** A label as dockerd selects by it. */
export function labelWords(labels: readonly LabelFilter[]): string[] {
  return labels.map(({ key, value }) => (value === undefined ? key : `${key}=${value}`));
}

/** The filters of a prune request. */
interface PruneRequest {
  readonly createdBefore?: Timestamp | undefined;
  readonly labels: readonly LabelFilter[];
  readonly excludedLabels: readonly LabelFilter[];
}

const unixEpoch = create(TimestampSchema);

/** Returns the filter of a prune request in dockerd's request format. */
export function pruneFilters(request: PruneRequest): Filters {
  const { createdBefore } = request;
  // dockerd reads no time before 1970, when nothing was made.
  const until = queryTime(
    createdBefore && (createdBefore.seconds < 0n ? unixEpoch : createdBefore),
  );
  return filters({
    until: until === undefined ? [] : [until],
    label: labelWords(request.labels),
    "label!": labelWords(request.excludedLabels),
  });
}

/** Returns a container filter in dockerd's request format. */
export function containerFilters(filter: ContainerFilter | undefined): Filters {
  if (filter === undefined) return {};
  return filters({
    id: filter.ids,
    // dockerd takes a regular expression, and knows names with and without a slash.
    name: filter.names.map((name) => `^/?${escapeRegExp(name)}$`),
    label: labelWords(filter.labels),
    status: wordsOf(stateWords, filter.states),
    health: wordsOf(healthWords, filter.healths),
    ancestor: filter.images,
    network: filter.networks,
    volume: filter.volumes,
    exited: filter.exitCodes.map(String),
    expose: filter.exposedPorts.map(portKey),
  });
}

function wordsOf<T>(words: readonly [T, string][], values: readonly T[]): string[] {
  return words.filter(([value]) => values.includes(value)).map(([, word]) => word);
}

function escapeRegExp(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

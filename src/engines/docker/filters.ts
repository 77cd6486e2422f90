/** Converts filters to dockerd's `filters` parameter. */
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { ContainerFilter } from "../../../gen/nap/v1/container_service_pb.js";
import type { LabelFilter } from "../../../gen/nap/v1/types_pb.js";
import { healthWords, stateWords } from "../docker-http/convert/container/container.js";
import { portKey } from "../docker-http/convert/container/ports.js";
import { queryTime } from "../docker-http/time.js";
import { fieldError } from "../../contract/errors.js";
import { compareTimes } from "../../core/lists/filters.js";
import { mapInParallel } from "../../lib/parallel.js";
import { timestampNanos, timestampOfNanos } from "../../lib/time.js";

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

/** The fields of a filter that dockerd prunes by; the support table refuses the others. */
interface PruneFilter {
  readonly createdBefore?: Timestamp | undefined;
  readonly labels: readonly LabelFilter[];
  readonly excludedLabels: readonly LabelFilter[];
}

/**
 * The filter of a prune request as dockerd takes it. Fails with FIELD_UNSUPPORTED where several labels are
 * excluded: dockerd would remove all but what has every one of them (20.10).
 */
export function pruneFilters(filter: PruneFilter | undefined): Filters {
  if (filter === undefined) return {};
  const { createdBefore, labels, excludedLabels } = filter;
  if (excludedLabels.length > 1) {
    const description =
      "Docker takes one label to exclude, and of several spares what has them all";
    const field = "filter.excluded_labels[1]";
    throw fieldError([{ field, description, reason: "FIELD_UNSUPPORTED" }]);
  }
  return filters({
    until: createdBefore === undefined ? [] : [untilBefore(createdBefore)],
    label: labelWords(labels),
    "label!": labelWords(excludedLabels),
  });
}

/** dockerd's `until` includes its own time, and is not before 1970, when nothing was made. */
function untilBefore(time: Timestamp): string {
  const nanos = timestampNanos(time) - 1n;
  return queryTime(timestampOfNanos(nanos < 0n ? 0n : nanos));
}

/**
 * The items without those created at a time or later in the same second. dockerd's lists tell whole
 * seconds, so that items of that second are looked at one by one.
 */
export async function withoutLater<T extends { readonly Created: number }>(
  items: readonly T[],
  time: Timestamp | undefined,
  createTimeOf: (item: T) => Promise<Timestamp | undefined>,
): Promise<T[]> {
  const kept = await mapInParallel(items, async (item) => {
    if (BigInt(item.Created) !== time?.seconds) return true;
    const createTime = await createTimeOf(item);
    return createTime !== undefined && compareTimes(createTime, time) < 0;
  });
  return items.filter((_, index) => kept[index]);
}

/** A container filter as dockerd takes it. */
export function containerFilters(filter: ContainerFilter | undefined): Filters {
  if (filter === undefined) return {};
  return filters({
    id: filter.ids,
    // dockerd takes a regular expression, and knows names with and without a slash.
    name: filter.names.map((name) => `^/?${escapeRegExp(name)}$`),
    label: labelWords(filter.labels),
    status: wordsOf(stateWords, filter.states),
    health: wordsOf(healthWords, filter.healthStatuses),
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

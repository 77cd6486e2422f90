/** Applies the filters of the contract, for engines that do not filter themselves. */
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Container, ContainerFilter } from "../../../gen/nap/v1/container_service_pb.js";
import { ContainerFilterSchema } from "../../../gen/nap/v1/container_service_pb.js";
import type { Event, EventFilter } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import type { Image, ImageFilter } from "../../../gen/nap/v1/image_service_pb.js";
import type { Network, NetworkFilter } from "../../../gen/nap/v1/network_service_pb.js";
import type { LabelFilter } from "../../../gen/nap/v1/types_pb.js";
import type { Volume, VolumeFilter } from "../../../gen/nap/v1/volume_service_pb.js";
import { imageOf } from "../../contract/container-source.js";
import { ownerLabel } from "../../contract/reserved-labels.js";
import { wildcardFits } from "../../lib/wildcard.js";

/** Below 0 where `a` is earlier than `b`, 0 where they are the same time. */
export function compareTimes(a: Timestamp, b: Timestamp): number {
  return a.seconds === b.seconds ? a.nanos - b.nanos : a.seconds < b.seconds ? -1 : 1;
}

/** Whether labels have everything that the filters demand. */
export function labelsMatch(
  labels: Readonly<Record<string, string>>,
  filters: readonly LabelFilter[],
): boolean {
  return filters.every(
    ({ key, value }) =>
      Object.hasOwn(labels, key) && (value === undefined || labels[key] === value),
  );
}

/** The fields that the filters of all resources have. */
interface CommonFilter {
  readonly labels: readonly LabelFilter[];
  readonly excludedLabels: readonly LabelFilter[];
  readonly createdBefore?: Timestamp | undefined;
}

/** Whether an object fits the fields that the filters of all resources have. */
function commonMatches(
  labels: Readonly<Record<string, string>>,
  createTime: Timestamp | undefined,
  filter: CommonFilter,
): boolean {
  return (
    labelsMatch(labels, filter.labels) &&
    !filter.excludedLabels.some((each) => labelsMatch(labels, [each])) &&
    isCreatedBefore(createTime, filter.createdBefore)
  );
}

function isCreatedBefore(createTime: Timestamp | undefined, time: Timestamp | undefined): boolean {
  return time === undefined || (createTime !== undefined && compareTimes(createTime, time) < 0);
}

/** An object's labels, with the one of nap's own that identities are bound by. */
function labelsOf(object: {
  readonly spec?: { readonly labels: Record<string, string> } | undefined;
  readonly owner: string;
}): Record<string, string> {
  return { ...object.spec?.labels, [ownerLabel]: object.owner };
}

/** A filter's field selects where it is empty or one of its entries fits. */
function anyOf<T>(wanted: readonly T[], fits: (entry: T) => boolean): boolean {
  return wanted.length === 0 || wanted.some(fits);
}

/** Whether a container is selected; an image that its own image was built on is not known here. */
export function containerMatches(
  container: Container,
  filter: ContainerFilter | undefined,
): boolean {
  if (filter === undefined) return true;
  const { spec, imageId } = container;
  return (
    containerMatchesByItself(container, filter) &&
    anyOf(filter.images, (wanted) => imageOf(spec) === wanted || imageId === wanted) &&
    filter.exposedPorts.length === 0
  );
}

/**
 * Whether a whole container has what a filter demands, apart from the images that it was built on and
 * its exposed ports, which only the engine can judge.
 */
export function containerMatchesByItself(
  container: Container,
  filter: ContainerFilter | undefined,
): boolean {
  if (filter === undefined) return true;
  const { name, state, health, exit, mounts } = container;
  return (
    listedContainerMatches(container, filter) &&
    anyOf(filter.names, (wanted) => name === wanted) &&
    anyOf(filter.states, (wanted) => state === wanted) &&
    anyOf(filter.healthStatuses, (wanted) => health === wanted) &&
    anyOf(filter.volumes, (wanted) =>
      mounts.some(({ target, volume, hostPath }) =>
        [target, volume === "" ? hostPath : volume].includes(wanted),
      ),
    ) &&
    anyOf(filter.exitCodes, (code) => exit?.code === code)
  );
}

/**
 * Whether a container fits the fields that can be judged on the basic view, and that an engine's own
 * list may take more loosely than the contract does, or not at all.
 */
export function listedContainerMatches(container: Container, filter: ContainerFilter): boolean {
  const { id, createTime, endpoints } = container;
  return (
    anyOf(filter.ids, (wanted) => id === wanted) &&
    commonMatches(labelsOf(container), createTime, filter) &&
    anyOf(filter.networks, (wanted) =>
      endpoints.some(({ network, networkId }) => wanted === network || wanted === networkId),
    )
  );
}

/** Whether a network is selected, apart from whether it is used and built in, which its engine judges. */
export function networkMatches(network: Network, filter: NetworkFilter | undefined): boolean {
  if (filter === undefined) return true;
  const { id, name, spec, createTime } = network;
  return (
    anyOf(filter.ids, (wanted) => id === wanted) &&
    anyOf(filter.names, (wanted) => name === wanted) &&
    anyOf(filter.drivers, (wanted) => spec?.driver === wanted) &&
    anyOf(filter.scopes, (wanted) => spec?.scope === wanted) &&
    commonMatches(labelsOf(network), createTime, filter)
  );
}

/** Whether a volume is selected, apart from whether it is used, which its engine judges. */
export function volumeMatches(volume: Volume, filter: VolumeFilter | undefined): boolean {
  if (filter === undefined) return true;
  const { name, spec, createTime } = volume;
  return (
    anyOf(filter.names, (wanted) => name === wanted) &&
    anyOf(filter.drivers, (wanted) => spec?.driver === wanted) &&
    commonMatches(labelsOf(volume), createTime, filter)
  );
}

/** The part of a filter that {@link containerMatchesByItself} leaves to the engine, if there is any. */
export function engineOnlyFilter(filter: ContainerFilter | undefined): ContainerFilter | undefined {
  const { images = [], exposedPorts = [] } = filter ?? {};
  if (images.length === 0 && exposedPorts.length === 0) return undefined;
  return create(ContainerFilterSchema, { images, exposedPorts });
}

/** Whether an event is selected. */
export function eventMatches(event: Event, filter: EventFilter | undefined): boolean {
  if (filter === undefined) return true;
  const { resource, action, attributes, resourceId, resourceName } = event;
  // Among the events that were lost may be selected ones.
  if (action === EventAction.EVENTS_LOST) return true;
  const named =
    (kind: EventResource) =>
    (wanted: string): boolean =>
      resource === kind && (wanted === resourceName || wanted === resourceId);
  return (
    anyOf(filter.resources, (wanted) => resource === wanted) &&
    anyOf(filter.actions, (wanted) => action === wanted) &&
    anyOf(filter.containers, named(EventResource.CONTAINER)) &&
    anyOf(filter.images, (wanted) => attributes["image"] === wanted || resourceId === wanted) &&
    anyOf(filter.volumes, named(EventResource.VOLUME)) &&
    anyOf(filter.networks, named(EventResource.NETWORK)) &&
    labelsMatch(attributes, filter.labels)
  );
}

/** Whether an image is selected. Those made before or since another are the engine's own affair. */
export function imageMatches(image: Image, filter: ImageFilter | undefined): boolean {
  if (filter === undefined) return true;
  return (
    listedImageMatches(image, filter) &&
    anyOf(filter.references, (pattern) => image.tags.some((tag) => referenceFits(tag, pattern)))
  );
}

/** Whether an image fits the fields that an engine's own list may take more loosely, or not at all. */
export function listedImageMatches(image: Image, filter: ImageFilter): boolean {
  const { labels, createTime, tags } = image;
  return (
    commonMatches(labels, createTime, filter) &&
    (filter.untagged === undefined || filter.untagged === (tags.length === 0))
  );
}

/** A pattern without a tag fits every tag; "*" stands for any part of a name or tag. */
function referenceFits(reference: string, pattern: string): boolean {
  if (wildcardFits(pattern, reference, "/:")) return true;
  const tag = /:[^/:]+$/.exec(reference);
  return tag !== null && wildcardFits(pattern, reference.slice(0, tag.index), "/:");
}

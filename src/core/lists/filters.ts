/** Applies the filters of the contract, for engines that do not filter themselves. */
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Container, ContainerFilter } from "../../../gen/nap/v1/container_service_pb.js";
import { ContainerFilterSchema } from "../../../gen/nap/v1/container_service_pb.js";
import type { Event, EventFilter } from "../../../gen/nap/v1/engine_service_pb.js";
import { EventAction, EventResource } from "../../../gen/nap/v1/engine_service_pb.js";
import type { Image, ImageFilter } from "../../../gen/nap/v1/image_service_pb.js";
import type { LabelFilter } from "../../../gen/nap/v1/types_pb.js";
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
  const { id, name, spec, state, health, exit, owner, endpoints, mounts } = container;
  return (
    anyOf(filter.ids, (prefix) => id.startsWith(prefix)) &&
    anyOf(filter.names, (wanted) => name === wanted) &&
    labelsMatch({ ...spec?.labels, [ownerLabel]: owner }, filter.labels) &&
    anyOf(filter.states, (wanted) => state === wanted) &&
    anyOf(filter.healths, (wanted) => health === wanted) &&
    anyOf(filter.networks, (wanted) =>
      endpoints.some(({ network, networkId }) => wanted === network || wanted === networkId),
    ) &&
    anyOf(filter.volumes, (wanted) =>
      mounts.some(({ target, volume, hostPath }) =>
        [target, volume === "" ? hostPath : volume].includes(wanted),
      ),
    ) &&
    anyOf(filter.exitCodes, (code) => exit?.code === code)
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
    anyOf(filter.references, (pattern) => image.tags.some((tag) => referenceFits(tag, pattern))) &&
    labelsMatch(image.labels, filter.labels) &&
    (filter.dangling === undefined || filter.dangling === (image.tags.length === 0))
  );
}

/** A pattern without a tag fits every tag; "*" stands for any part of a name or tag. */
function referenceFits(reference: string, pattern: string): boolean {
  if (wildcardFits(pattern, reference, "/:")) return true;
  const tag = /:[^/:]+$/.exec(reference);
  return tag !== null && wildcardFits(pattern, reference.slice(0, tag.index), "/:");
}

/** Reads the source of a container. */
import type { ContainerSpec } from "../../gen/nap/v1/container_spec_pb.js";

/** Returns the image of a container, or an empty string if its source is not an image. */
export function imageOf(spec: Pick<ContainerSpec, "source"> | undefined): string {
  return spec?.source.case === "image" ? spec.source.value : "";
}

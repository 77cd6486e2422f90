/** Reads what a container is made from. */
import type { ContainerSpec } from "../../gen/nap/v1/container_spec_pb.js";

/** The image of a container that is made from one; of another it is empty. */
export function imageOf(spec: Pick<ContainerSpec, "source"> | undefined): string {
  return spec?.source.case === "image" ? spec.source.value : "";
}

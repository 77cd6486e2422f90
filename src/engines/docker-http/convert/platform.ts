/**
 * Keeps the platform that a container was asked for. dockerd takes it to choose an image, and reports
 * the operating system alone; so it stands in a label of nap's own.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Platform, PlatformSchema } from "../../../../gen/nap/v1/types_pb.js";
import { internalLabelPrefix } from "../../../contract/reserved-labels.js";
import type { StringMap } from "../json.js";

const platformLabel = `${internalLabelPrefix}platform`;

/** The label for a platform; empty where none was asked for, since an image may have it, too. */
export function platformLabels(platform: Platform | undefined): StringMap {
  if (platform === undefined) return { [platformLabel]: "" };
  const { os = "", architecture = "", variant = "" } = platform;
  return { [platformLabel]: `${os}/${architecture}/${variant}` };
}

/** The platform that was asked for. Undefined: none was. */
export function platformFromLabels(
  labels: StringMap | null | undefined,
): MessageInitShape<typeof PlatformSchema> | undefined {
  const text = labels?.[platformLabel] ?? "";
  if (text === "") return undefined;
  const [os, architecture, variant] = text.split("/");
  return { ...(os && { os }), ...(architecture && { architecture }), ...(variant && { variant }) };
}

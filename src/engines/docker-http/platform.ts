/** Platforms in dockerd's request format. */
import type { Platform } from "../../../gen/nap/v1/types_pb.js";
import { fieldError } from "../../contract/errors.js";

/** A message that may have a platform. */
interface ForPlatform {
  readonly platform?: Platform | undefined;
}

/** As the older calls take it: `linux/arm64/v8`. */
export function platformText({ platform }: ForPlatform): string | undefined {
  if (platform === undefined) return undefined;
  if (platform.variant !== undefined) requireArchitecture(platform);
  const parts = [platform.os ?? "linux", platform.architecture, platform.variant];
  return parts.filter((part) => part !== undefined).join("/");
}

/** As the calls take it that have it since API 1.46. */
export function platformJson({ platform }: ForPlatform): object | undefined {
  if (platform === undefined) return undefined;
  const architecture = requireArchitecture(platform);
  const { os = "linux", variant } = platform;
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

function requireArchitecture({ architecture, variant }: Platform): string {
  if (architecture !== undefined) return architecture;
  const [field, description] =
    variant === undefined
      ? ["platform.architecture", "dockerd needs it here"]
      : ["platform.variant", "a variant needs its architecture"];
  throw fieldError([{ field, description, reason: "FIELD_INVALID" }]);
}

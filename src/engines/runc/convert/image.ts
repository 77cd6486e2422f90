/** Converts the configuration of OCI images. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { ImageConfig } from "../../../../gen/nap/v1/image_service_pb.js";
import { ImageConfigSchema } from "../../../../gen/nap/v1/image_service_pb.js";
import { environmentMap } from "../../../lib/env-vars.js";
import { PortProtocol } from "../../../../gen/nap/v1/types_pb.js";

/** The parts of an image's configuration that are read. */
export interface OciConfig {
  readonly created?: string;
  readonly author?: string;
  readonly os: string;
  readonly architecture: string;
  readonly config?: {
    readonly Entrypoint?: string[];
    readonly Cmd?: string[];
    readonly Env?: string[];
    readonly WorkingDir?: string;
    readonly User?: string;
    readonly Labels?: Record<string, string>;
    readonly ExposedPorts?: Record<string, object>;
    readonly Volumes?: Record<string, object>;
    readonly StopSignal?: string;
  };
  readonly rootfs: { readonly diff_ids: string[] };
  readonly history?: { readonly comment?: string }[];
}

/** Returns the defaults for containers of the image. */
export function imageConfigOf(config: NonNullable<OciConfig["config"]>): ImageConfig {
  const init: MessageInitShape<typeof ImageConfigSchema> = {
    environment: environmentMap(config.Env),
    workingDir: config.WorkingDir ?? "",
    user: config.User ?? "",
    exposedPorts: Object.keys(config.ExposedPorts ?? {}).map((key) => ({
      containerPort: Number(key.split("/")[0]),
      protocol: key.endsWith("/udp") ? PortProtocol.UDP : PortProtocol.TCP,
    })),
    volumePaths: Object.keys(config.Volumes ?? {}),
    stopSignal: config.StopSignal ?? "",
  };
  if (config.Entrypoint) init.entrypoint = { arguments: config.Entrypoint };
  if (config.Cmd) init.command = { arguments: config.Cmd };
  return create(ImageConfigSchema, init);
}

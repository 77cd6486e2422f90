/** Converts volumes between messages and dockerd's JSON. */
import { create } from "@bufbuild/protobuf";
import type { VolumeSpec } from "../../../../gen/nap/v1/container_spec_pb.js";
import { VolumeSpecSchema } from "../../../../gen/nap/v1/container_spec_pb.js";
import { ResourceScope } from "../../../../gen/nap/v1/types_pb.js";
import type { Volume } from "../../../../gen/nap/v1/volume_service_pb.js";
import { VolumeSchema } from "../../../../gen/nap/v1/volume_service_pb.js";
import { ownerOf, requestIdOf, stripInternalLabels } from "../../../contract/reserved-labels.js";
import { timestampOf } from "../../../lib/time.js";
import type { StringMap, VolumeJson, VolumeSpecJson } from "../json.js";
import { scopes } from "./scopes.js";

const defaultDriver = "local";

/** The label that dockerd, from 23.0 on, gives to volumes that it makes up a name for. */
const anonymousLabel = "com.docker.volume.anonymous";

/** Returns a volume's spec in dockerd's request format. `ownLabels` are internal labels. */
export function volumeSpecToDocker(
  spec: VolumeSpec | undefined,
  ownLabels: StringMap,
): VolumeSpecJson {
  return {
    Driver: spec?.driver || defaultDriver,
    DriverOpts: spec?.driverOptions ?? {},
    Labels: { ...spec?.labels, ...ownLabels },
  };
}

/** Returns the spec of a volume as dockerd reports it, without internal labels. */
export function volumeSpecFromDocker(
  json: Pick<VolumeJson, "Driver" | "Options" | "Labels">,
): VolumeSpec {
  return create(VolumeSpecSchema, {
    driver: json.Driver,
    driverOptions: json.Options ?? {},
    labels: stripInternalLabels(json.Labels ?? {}),
  });
}

/** Whether a volume was created with this spec. A label that dockerd added is no difference. */
export function sameSpec(json: VolumeJson, spec: VolumeSpec | undefined): boolean {
  const { driver, driverOptions, labels } = volumeSpecFromDocker(json);
  const added: StringMap = anonymousLabel in labels ? { [anonymousLabel]: "" } : {};
  return (
    driver === (spec?.driver || defaultDriver) &&
    sameMap(driverOptions, spec?.driverOptions ?? {}) &&
    sameMap(labels, { ...added, ...spec?.labels })
  );
}

function sameMap(a: StringMap, b: StringMap): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

/** A volume from inspect or a list. */
export function volumeFromDocker(engine: string, json: VolumeJson): Volume {
  return create(VolumeSchema, {
    engine,
    name: json.Name,
    spec: volumeSpecFromDocker(json),
    hostPath: json.Mountpoint,
    scope: scopes[json.Scope] ?? ResourceScope.UNSPECIFIED,
    createTime: timestampOf(json.CreatedAt),
    driverStatus: Object.fromEntries(
      Object.entries(json.Status ?? {}).map(([key, value]) => [key, String(value)]),
    ),
    requestId: requestIdOf(json.Labels),
    owner: ownerOf(json.Labels),
  });
}

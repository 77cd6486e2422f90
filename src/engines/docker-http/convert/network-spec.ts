/** Converts networks between messages and dockerd's JSON. */
import { create } from "@bufbuild/protobuf";
import type {
  IpamConfig,
  Network,
  NetworkSpec,
} from "../../../../gen/nap/v1/network_service_pb.js";
import { NetworkSchema, NetworkSpecSchema } from "../../../../gen/nap/v1/network_service_pb.js";
import { ResourceScope } from "../../../../gen/nap/v1/types_pb.js";
import { ownerOf, requestIdOf, stripInternalLabels } from "../../../contract/reserved-labels.js";
import { timestampOf } from "../../../lib/time.js";
import type { IpamJson, NetworkJson, NetworkSpecJson, StringMap } from "../json.js";
import { scopes } from "./scopes.js";

/** Returns a network's spec in dockerd's request format. `ownLabels` are internal labels. */
export function networkSpecToDocker(
  spec: NetworkSpec | undefined,
  ownLabels: StringMap,
): NetworkSpecJson {
  return {
    Driver: spec?.driver ?? "bridge",
    Options: spec?.driverOptions ?? {},
    Labels: { ...spec?.labels, ...ownLabels },
    Internal: spec?.internal === true,
    Attachable: spec?.attachable === true,
    EnableIPv6: spec?.enableIpv6 === true,
    ...(spec?.enableIpv4 !== undefined && { EnableIPv4: spec.enableIpv4 }),
    ...(spec?.scope && { Scope: spec.scope === ResourceScope.LOCAL ? "local" : "swarm" }),
    ...(spec?.ipam && { IPAM: ipamToDocker(spec.ipam) }),
    ...(spec?.configOnly !== undefined && { ConfigOnly: spec.configOnly }),
    ...(spec?.configFrom !== undefined && { ConfigFrom: { Network: spec.configFrom } }),
  };
}

function ipamToDocker({ driver, driverOptions, pools }: IpamConfig): IpamJson {
  return {
    Driver: driver ?? "default",
    Options: driverOptions,
    Config: pools.map(({ subnet, ipRange, gateway, auxiliaryAddresses }) => ({
      Subnet: subnet,
      ...(ipRange !== undefined && { IPRange: ipRange }),
      ...(gateway !== undefined && { Gateway: gateway }),
      AuxiliaryAddresses: auxiliaryAddresses,
    })),
  };
}

/** Returns the spec of a network as dockerd reports it, including defaults that dockerd chose. */
export function networkSpecFromDocker(json: NetworkSpecJson): NetworkSpec {
  return create(NetworkSpecSchema, {
    driver: json.Driver,
    driverOptions: json.Options ?? {},
    labels: stripInternalLabels(json.Labels ?? {}),
    ...(json.Internal && { internal: true }),
    ...(json.Attachable && { attachable: true }),
    ...(json.Ingress && { ingress: true }),
    ...(json.EnableIPv6 && { enableIpv6: true }),
    ...(json.EnableIPv4 === false && { enableIpv4: false }),
    ...(json.ConfigOnly && { configOnly: true }),
    ...(json.ConfigFrom?.Network && { configFrom: json.ConfigFrom.Network }),
    ...(json.IPAM && {
      ipam: {
        driver: json.IPAM.Driver,
        driverOptions: json.IPAM.Options ?? {},
        pools: (json.IPAM.Config ?? []).map(({ Subnet, IPRange, Gateway, AuxiliaryAddresses }) => ({
          subnet: Subnet ?? "",
          ...(IPRange && { ipRange: IPRange }),
          ...(Gateway && { gateway: Gateway }),
          auxiliaryAddresses: AuxiliaryAddresses ?? {},
        })),
      },
    }),
    scope: scopes[json.Scope ?? ""] ?? ResourceScope.UNSPECIFIED,
  });
}

/** A network from inspect or a list. */
export function networkFromDocker(engine: string, json: NetworkJson): Network {
  return create(NetworkSchema, {
    engine,
    id: json.Id,
    name: json.Name,
    spec: networkSpecFromDocker(json),
    createTime: timestampOf(json.Created),
    endpoints: Object.entries(json.Containers ?? {}).map(([containerId, endpoint]) => ({
      containerId,
      containerName: endpoint.Name,
      endpointId: endpoint.EndpointID,
      macAddress: endpoint.MacAddress,
      ipv4Address: endpoint.IPv4Address,
      ipv6Address: endpoint.IPv6Address,
    })),
    requestId: requestIdOf(json.Labels),
    owner: ownerOf(json.Labels),
  });
}

/** Converts a container's places on networks between messages and dockerd's JSON. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { ContainerEndpoint } from "../../../../../gen/nap/v1/container_service_pb.js";
import { ContainerEndpointSchema } from "../../../../../gen/nap/v1/container_service_pb.js";
import type {
  EndpointSettings,
  EndpointSettingsSchema,
} from "../../../../../gen/nap/v1/types_pb.js";
import type { EndpointJson } from "../../json.js";

/** Returns a container's place on a network in dockerd's request format. */
export function endpointToDocker(endpoint: EndpointSettings | undefined): EndpointJson {
  if (endpoint === undefined) return {};
  const { ipv4Address, ipv6Address, linkLocalAddresses, macAddress } = endpoint;
  return {
    IPAMConfig: {
      ...(ipv4Address !== undefined && { IPv4Address: ipv4Address }),
      ...(ipv6Address !== undefined && { IPv6Address: ipv6Address }),
      ...(linkLocalAddresses.length > 0 && { LinkLocalIPs: linkLocalAddresses }),
    },
    Aliases: endpoint.aliases,
    Links: linksToDocker(endpoint),
    DriverOpts: endpoint.driverOptions,
    ...(macAddress !== undefined && { MacAddress: macAddress }),
    ...(endpoint.gatewayPriority !== undefined && { GwPriority: endpoint.gatewayPriority }),
  };
}

/** Returns links in dockerd's request format. */
export function linksToDocker(endpoint: EndpointSettings | undefined): string[] {
  return (endpoint?.links ?? []).map(({ container, alias }) =>
    alias === undefined ? container : `${container}:${alias}`,
  );
}

/** A container's place on a network as dockerd reports what it was told. */
export function endpointFromDocker(
  endpoint: EndpointJson,
  known: { macAddress?: string; links: readonly string[]; ownAlias: string },
): MessageInitShape<typeof EndpointSettingsSchema> {
  const { IPv4Address, IPv6Address, LinkLocalIPs } = endpoint.IPAMConfig ?? {};
  return {
    // dockerd adds the container's short id.
    aliases: (endpoint.Aliases ?? []).filter((alias) => alias !== known.ownAlias),
    ...(IPv4Address && { ipv4Address: IPv4Address }),
    ...(IPv6Address && { ipv6Address: IPv6Address }),
    linkLocalAddresses: LinkLocalIPs ?? [],
    ...(known.macAddress && { macAddress: known.macAddress }),
    links: known.links.map(linkFromDocker),
    driverOptions: endpoint.DriverOpts ?? {},
    ...(endpoint.GwPriority && { gatewayPriority: endpoint.GwPriority }),
  };
}

/** A link as set (`name:alias`) or as HostConfig reports it (`/name:/self/alias`). */
function linkFromDocker(link: string): { container: string; alias?: string } {
  const [container = "", alias] = link.split(":");
  const name = alias?.slice(alias.lastIndexOf("/") + 1);
  return { container: container.replace(/^\//, ""), ...(name && { alias: name }) };
}

/** The networks that a container is attached to now. */
export function endpoints(
  networks: Readonly<Record<string, EndpointJson>> | undefined,
): ContainerEndpoint[] {
  return Object.entries(networks ?? {}).map(([network, endpoint]) =>
    create(ContainerEndpointSchema, {
      network,
      networkId: endpoint.NetworkID ?? "",
      ipv4Address: endpoint.IPAddress ?? "",
      ipv4PrefixLength: endpoint.IPPrefixLen ?? 0,
      ipv4Gateway: endpoint.Gateway ?? "",
      ipv6Address: endpoint.GlobalIPv6Address ?? "",
      ipv6PrefixLength: endpoint.GlobalIPv6PrefixLen ?? 0,
      ipv6Gateway: endpoint.IPv6Gateway ?? "",
      macAddress: endpoint.MacAddress ?? "",
      aliases: endpoint.Aliases ?? [],
    }),
  );
}

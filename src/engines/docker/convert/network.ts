/** Converts a container's networks, ports and name resolution between messages and dockerd's JSON. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type {
  ContainerEndpoint,
  PublishedPort,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerEndpointSchema,
  PublishedPortSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type {
  ContainerNetwork,
  HostEntry,
  HostEntrySchema,
  NetworkAttachment,
  PortBindingSchema,
} from "../../../../gen/nap/v1/container_spec_pb.js";
import { ContainerNetworkSchema } from "../../../../gen/nap/v1/container_spec_pb.js";
import type { EndpointSettings, EndpointSettingsSchema } from "../../../../gen/nap/v1/types_pb.js";
import { PortProtocol } from "../../../../gen/nap/v1/types_pb.js";
import { fieldError } from "../../../engine/error.js";
import type { ConfigJson, EndpointJson, HostConfigJson, PortBindingJson } from "../json.js";

const protocols: readonly [PortProtocol, string][] = [
  [PortProtocol.TCP, "tcp"],
  [PortProtocol.UDP, "udp"],
  [PortProtocol.SCTP, "sctp"],
];

/** A container's networks as dockerd takes them. */
export interface DockerNetwork {
  readonly config: Pick<ConfigJson, "ExposedPorts">;
  readonly host: HostConfigJson;
  /** The network that the container is created on; further ones are connected afterwards. */
  readonly first: NetworkAttachment | undefined;
  readonly further: readonly NetworkAttachment[];
}

/** Networks, ports and name resolution as dockerd takes them. */
export function networkToDocker(network: ContainerNetwork | undefined): DockerNetwork {
  const { mode, portBindings = [], exposedPorts = [], publishAllPorts } = network ?? {};
  const attachments = mode?.case === "attachments" ? mode.value.items : [];
  const [first, ...further] = attachments;
  const unplaced = further.findIndex(({ endpoint }) => endpoint?.macAddress !== undefined);
  if (unplaced >= 0) {
    // Until API 1.44 a MAC address belongs to the container, not to its endpoint.
    const field = `spec.network.attachments.items[${unplaced + 1}].endpoint.mac_address`;
    const description = "Docker takes a MAC address for the first network alone";
    throw fieldError([{ field, description, kind: "FIELD_UNSUPPORTED_BY_ENGINE" }]);
  }
  refuseLostPorts(network);
  const ports = new Set([...exposedPorts, ...portBindings].map(portKey));
  const bindings: Record<string, PortBindingJson[]> = {};
  for (const binding of portBindings) {
    (bindings[portKey(binding)] ??= []).push({
      HostIp: binding.hostAddress ?? "",
      HostPort: hostPort(binding.hostPort, binding.hostPortRangeEnd),
    });
  }
  return {
    config: { ExposedPorts: Object.fromEntries([...ports].map((key) => [key, {}])) },
    host: {
      NetworkMode: networkMode(mode, first),
      PortBindings: bindings,
      ...(publishAllPorts !== undefined && { PublishAllPorts: publishAllPorts }),
      Dns: network?.dnsServers ?? [],
      DnsSearch: network?.dnsSearches ?? [],
      DnsOptions: network?.dnsOptions ?? [],
      ExtraHosts: (network?.extraHosts ?? []).map(hostEntry),
      ...(first?.network === "bridge" && { Links: links(first.endpoint) }),
    },
    first,
    further,
  };
}

/** Ports that dockerd would take and publish nowhere. */
function refuseLostPorts(network: ContainerNetwork | undefined): void {
  if (network === undefined) return;
  const { mode, portBindings, publishAllPorts } = network;
  const refuse = (field: string, description: string): never => {
    throw fieldError([{ field: `spec.network.${field}`, description, kind: "FIELD_INVALID" }]);
  };
  const lost = portBindings.findIndex(
    ({ hostPort: first, hostPortRangeEnd: last }) =>
      last !== undefined && (first === undefined || last < first),
  );
  if (lost >= 0) refuse(`port_bindings[${lost}].host_port_range_end`, "is below host_port");
  const ownNetwork = mode.case === undefined || mode.case === "attachments";
  if (!ownNetwork && publishAllPorts) refuse("publish_all_ports", "needs a network of its own");
  // With the host's network dockerd itself says that it discards them.
  if (!ownNetwork && mode.case !== "host" && portBindings.length > 0) {
    refuse("port_bindings", "needs a network of its own");
  }
}

function networkMode(
  mode: ContainerNetwork["mode"] | undefined,
  first: NetworkAttachment | undefined,
): string {
  switch (mode?.case) {
    case "none":
    case "host":
      return mode.case;
    case "container":
      return `container:${mode.value}`;
    default:
      return first?.network ?? "default";
  }
}

/** A port as dockerd names it, for example "80/tcp". */
export function portKey({
  containerPort,
  protocol,
}: {
  containerPort: number;
  protocol: PortProtocol;
}): string {
  return `${containerPort}/${protocols.find(([value]) => value === protocol)?.[1] ?? "tcp"}`;
}

function hostPort(first: number | undefined, last: number | undefined): string {
  if (first === undefined) return "";
  return last === undefined ? String(first) : `${first}-${last}`;
}

function hostEntry({ hostname, target }: HostEntry): string {
  return `${hostname}:${target.case === "address" ? target.value : "host-gateway"}`;
}

function links(endpoint: EndpointSettings | undefined): string[] {
  return (endpoint?.links ?? []).map(({ container, alias }) =>
    alias === undefined ? container : `${container}:${alias}`,
  );
}

/** A container's place on a network as dockerd takes it. */
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
    Links: links(endpoint),
    DriverOpts: endpoint.driverOptions,
    ...(macAddress !== undefined && { MacAddress: macAddress }),
  };
}

/** Networks, ports and name resolution as dockerd reports them. */
export function networkFromDocker(
  id: string,
  config: ConfigJson,
  host: HostConfigJson,
  networks: Readonly<Record<string, EndpointJson>>,
): ContainerNetwork {
  return create(ContainerNetworkSchema, {
    mode: modeFromDocker(id, config, host, networks),
    exposedPorts: Object.keys(config.ExposedPorts ?? {}).map(portFromKey),
    portBindings: Object.entries(host.PortBindings ?? {}).flatMap(([key, bindings]) =>
      (bindings ?? []).map((binding) => bindingFromDocker(key, binding)),
    ),
    ...(host.PublishAllPorts && { publishAllPorts: true }),
    dnsServers: host.Dns ?? [],
    dnsSearches: host.DnsSearch ?? [],
    dnsOptions: host.DnsOptions ?? [],
    extraHosts: (host.ExtraHosts ?? []).map(hostEntryFromDocker),
  });
}

function modeFromDocker(
  id: string,
  config: ConfigJson,
  host: HostConfigJson,
  networks: Readonly<Record<string, EndpointJson>>,
): NonNullable<MessageInitShape<typeof ContainerNetworkSchema>["mode"]> {
  const { NetworkMode = "default" } = host;
  if (NetworkMode === "none" || NetworkMode === "host") return { case: NetworkMode, value: {} };
  const container = /^container:(.+)$/.exec(NetworkMode)?.[1];
  if (container !== undefined) return { case: "container", value: container };
  const names = Object.keys(networks);
  const first =
    NetworkMode === "default"
      ? "bridge"
      : names.find((name) => name === NetworkMode || networks[name]?.NetworkID === NetworkMode);
  const items = names
    .toSorted((a, b) => Number(b === first) - Number(a === first))
    .map((network, index) => ({
      network,
      endpoint: endpointFromDocker(networks[network] ?? {}, {
        ...(index === 0 && config.MacAddress && { macAddress: config.MacAddress }),
        // dockerd keeps the links of its default bridge apart from all others'.
        links: network === "bridge" ? (host.Links ?? []) : (networks[network]?.Links ?? []),
        ownAlias: id.slice(0, 12),
      }),
    }));
  return { case: "attachments", value: { items } };
}

function endpointFromDocker(
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
  };
}

/** A link as set (`name:alias`) or as HostConfig reports it (`/name:/self/alias`). */
function linkFromDocker(link: string): { container: string; alias?: string } {
  const [container = "", alias] = link.split(":");
  const name = alias?.slice(alias.lastIndexOf("/") + 1);
  return { container: container.replace(/^\//, ""), ...(name && { alias: name }) };
}

/** The port that dockerd names so. */
export function portFromKey(key: string): { containerPort: number; protocol: PortProtocol } {
  const [port = "", word = "tcp"] = key.split("/");
  return { containerPort: Number(port), protocol: protocolOf(word) };
}

function protocolOf(word: string): PortProtocol {
  return protocols.find(([, name]) => name === word)?.[0] ?? PortProtocol.UNSPECIFIED;
}

function bindingFromDocker(
  key: string,
  { HostIp, HostPort }: PortBindingJson,
): MessageInitShape<typeof PortBindingSchema> {
  const [first, last] = (HostPort ?? "").split("-").map(Number);
  return {
    ...portFromKey(key),
    ...(HostIp && { hostAddress: HostIp }),
    ...(first && { hostPort: first }),
    ...(last && { hostPortRangeEnd: last }),
  };
}

function hostEntryFromDocker(entry: string): MessageInitShape<typeof HostEntrySchema> {
  const colon = entry.indexOf(":");
  const [hostname, address] = [entry.slice(0, colon), entry.slice(colon + 1)];
  return address === "host-gateway"
    ? { hostname, target: { case: "hostGateway", value: {} } }
    : { hostname, target: { case: "address", value: address } };
}

/** The host's ports that lead in now, from inspect. */
export function publishedPorts(
  ports: Readonly<Record<string, PortBindingJson[] | null>> | null,
): PublishedPort[] {
  return Object.entries(ports ?? {}).flatMap(([key, bindings]) =>
    (bindings ?? []).map(({ HostIp, HostPort }) =>
      create(PublishedPortSchema, {
        ...portFromKey(key),
        hostAddress: HostIp ?? "",
        hostPort: Number(HostPort),
      }),
    ),
  );
}

/** The host's ports that lead in now, from a list. */
export function publishedPortsOfSummary(
  ports: readonly { IP?: string; PrivatePort: number; PublicPort?: number; Type: string }[],
): PublishedPort[] {
  return ports
    .filter(({ PublicPort }) => PublicPort !== undefined)
    .map(({ IP = "", PrivatePort, PublicPort = 0, Type }) =>
      create(PublishedPortSchema, {
        containerPort: PrivatePort,
        protocol: protocolOf(Type),
        hostAddress: IP,
        hostPort: PublicPort,
      }),
    );
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

/** Converts a container's networks, ports and name resolution between messages and dockerd's JSON. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type {
  ContainerNetwork,
  HostEntry,
  HostEntrySchema,
  NetworkAttachment,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import { ContainerNetworkSchema } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { fieldError } from "../../../../contract/errors.js";
import { isAtLeast } from "../../api-version.js";
import type { ConfigJson, ContainerJson, EndpointJson, HostConfigJson } from "../../json.js";
import { endpointFromDocker, endpointToDocker, linksToDocker } from "./endpoints.js";
import { bindingFromDocker, bindingsToDocker, portFromKey, portKey } from "./ports.js";

/** A container's networks as dockerd takes them. */
export interface DockerNetwork {
  readonly config: Pick<ConfigJson, "ExposedPorts" | "MacAddress">;
  readonly host: HostConfigJson;
  /** The networks that the container is created on; until API 1.44 there is at most one. */
  readonly endpoints: Record<string, EndpointJson> | undefined;
  /** The networks that are connected after that. */
  readonly further: readonly NetworkAttachment[];
}

/** Networks, ports and name resolution as dockerd takes them. */
export function networkToDocker(
  network: ContainerNetwork | undefined,
  apiVersion: string,
): DockerNetwork {
  const { mode, portBindings = [], exposedPorts = [], publishAllPorts } = network ?? {};
  const attachments = mode?.case === "attachments" ? mode.value.items : [];
  const [first] = attachments;
  const takesAll = isAtLeast(apiVersion, "1.44");
  const here = attachments.slice(0, takesAll ? attachments.length : 1);
  const further = attachments.slice(here.length);
  const unplaced = further.findIndex(({ endpoint }) => endpoint?.macAddress !== undefined);
  if (unplaced >= 0) {
    // Until API 1.44 a MAC address belongs to the container, not to its endpoint.
    const field = `spec.network.attachments.items[${unplaced + 1}].endpoint.mac_address`;
    const description = `Docker API ${apiVersion} takes a MAC address for the first network alone`;
    throw fieldError([{ field, description, reason: "FIELD_UNSUPPORTED" }]);
  }
  refuseLostPorts(network);
  const ports = new Set([...exposedPorts, ...portBindings].map(portKey));
  const macAddress = first?.endpoint?.macAddress;
  return {
    config: {
      ExposedPorts: Object.fromEntries([...ports].map((key) => [key, {}])),
      ...(macAddress !== undefined && !takesAll && { MacAddress: macAddress }),
    },
    host: {
      NetworkMode: networkMode(mode, first),
      PortBindings: bindingsToDocker(portBindings),
      ...(publishAllPorts !== undefined && { PublishAllPorts: publishAllPorts }),
      Dns: network?.dnsServers ?? [],
      DnsSearch: network?.dnsSearches ?? [],
      DnsOptions: network?.dnsOptions ?? [],
      ExtraHosts: (network?.extraHosts ?? []).map(hostEntry),
      ...(first?.network === "bridge" && { Links: linksToDocker(first.endpoint) }),
    },
    endpoints:
      here.length === 0
        ? undefined
        : Object.fromEntries(
            here.map(({ network: name, endpoint }) => [name, endpointToDocker(endpoint)]),
          ),
    further,
  };
}

/** Ports that dockerd would take and publish nowhere. */
function refuseLostPorts(network: ContainerNetwork | undefined): void {
  if (network === undefined) return;
  const { mode, portBindings, publishAllPorts } = network;
  const refuse = (field: string, description: string): never => {
    throw fieldError([{ field: `spec.network.${field}`, description, reason: "FIELD_INVALID" }]);
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

function hostEntry({ hostname, target }: HostEntry): string {
  return `${hostname}:${target.case === "address" ? target.value : "host-gateway"}`;
}

/** Networks, ports and name resolution as dockerd reports them. */
export function networkFromDocker(json: ContainerJson): ContainerNetwork {
  const { Config: config, HostConfig: host } = json;
  return create(ContainerNetworkSchema, {
    mode: modeFromDocker(json),
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
  json: ContainerJson,
): NonNullable<MessageInitShape<typeof ContainerNetworkSchema>["mode"]> {
  const { Id: id, Config: config, HostConfig: host, State: state } = json;
  const networks = json.NetworkSettings.Networks ?? {};
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
    .map((network, index) => {
      const endpoint = networks[network] ?? {};
      // Once it has run, an endpoint has the address that it got, not what it was told.
      const told = state.Status === "created" ? endpoint.MacAddress : undefined;
      const macAddress = (index === 0 && config.MacAddress) || told;
      return {
        network,
        endpoint: endpointFromDocker(endpoint, {
          ...(macAddress && { macAddress }),
          // dockerd keeps the links of its default bridge apart from all others'.
          links: (network === "bridge" ? host.Links : endpoint.Links) ?? [],
          ownAlias: id.slice(0, 12),
        }),
      };
    });
  return { case: "attachments", value: { items } };
}

function hostEntryFromDocker(entry: string): MessageInitShape<typeof HostEntrySchema> {
  // Some clients write `name=address`, an address of IPv6 in brackets.
  const [, hostname = "", address = ""] =
    /^([^:=]+)=\[?((?<=\[)[^\]]+(?=\]$)|[\d.]+|host-gateway)\]?$/.exec(entry) ??
    /^([^:]*):(.*)$/s.exec(entry) ??
    [];
  return address === "host-gateway"
    ? { hostname, target: { case: "hostGateway", value: {} } }
    : { hostname, target: { case: "address", value: address } };
}

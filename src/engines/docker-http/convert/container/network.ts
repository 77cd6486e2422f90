/** Converts a container's networks, ports and name resolution between messages and dockerd's JSON. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create, isFieldSet } from "@bufbuild/protobuf";
import type {
  ContainerSpec,
  HostAlias,
  HostAliasSchema,
  Namespace,
  NetworkAttachment,
  NetworkConfig,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import {
  NamespaceSchema,
  NetworkAttachmentSchema,
  NetworkConfigSchema,
} from "../../../../../gen/nap/v1/container_spec_pb.js";
import { fieldError } from "../../../../contract/errors.js";
import { isAtLeast } from "../../api-version.js";
import type { ConfigJson, ContainerJson, EndpointJson, HostConfigJson } from "../../json.js";
import { endpointFromDocker, endpointToDocker, linksToDocker } from "./endpoints.js";
import { namespaceFromMode, namespaceMode } from "./namespaces.js";
import { mappingFromDocker, mappingsToDocker, portFromKey, portKey } from "./ports.js";

/** A container's networks in dockerd's request format. */
export interface DockerNetwork {
  readonly config: Pick<ConfigJson, "ExposedPorts" | "MacAddress">;
  readonly host: HostConfigJson;
  /** The networks that the container is created on; until API 1.44 there is at most one. */
  readonly endpoints: Record<string, EndpointJson> | undefined;
  /** The networks that are connected after that. */
  readonly further: readonly NetworkAttachment[];
}

/** The parts of a spec that concern networks. */
type NetworkParts = Pick<ContainerSpec, "networks" | "networkConfig" | "namespaces">;

/** Returns networks, ports and name resolution in dockerd's request format. */
export function networkToDocker(spec: NetworkParts, apiVersion: string): DockerNetwork {
  const { networks, networkConfig: config } = spec;
  const { portMappings = [], exposedPorts = [], publishAllPorts } = config ?? {};
  const [first] = networks;
  const takesAll = isAtLeast(apiVersion, "1.44");
  const here = networks.slice(0, takesAll ? networks.length : 1);
  const further = networks.slice(here.length);
  const unplaced = further.findIndex(({ endpoint }) => endpoint?.macAddress !== undefined);
  if (unplaced >= 0) {
    // Until API 1.44 a MAC address belongs to the container, not to its endpoint.
    const field = `spec.networks[${unplaced + 1}].endpoint.mac_address`;
    const description = `Docker API ${apiVersion} takes a MAC address for the first network alone`;
    throw fieldError([{ field, description, reason: "FIELD_UNSUPPORTED" }]);
  }
  rejectUnpublishedPorts(spec);
  const ports = new Set([...exposedPorts, ...portMappings].map(portKey));
  const macAddress = first?.endpoint?.macAddress;
  return {
    config: {
      ExposedPorts: Object.fromEntries([...ports].map((key) => [key, {}])),
      ...(macAddress !== undefined && !takesAll && { MacAddress: macAddress }),
    },
    host: {
      NetworkMode: networkMode(spec.namespaces?.network, first),
      PortBindings: mappingsToDocker(portMappings),
      ...(publishAllPorts !== undefined && { PublishAllPorts: publishAllPorts }),
      Dns: config?.dnsServers ?? [],
      DnsSearch: config?.dnsSearches ?? [],
      DnsOptions: config?.dnsOptions ?? [],
      ExtraHosts: (config?.extraHosts ?? []).map(hostEntry),
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

/** Rejects ports that dockerd would accept and not publish. */
function rejectUnpublishedPorts({ networks, networkConfig, namespaces }: NetworkParts): void {
  if (networkConfig === undefined) return;
  const { portMappings, publishAllPorts } = networkConfig;
  const refuse = (field: string, description: string): never => {
    throw fieldError([
      { field: `spec.network_config.${field}`, description, reason: "FIELD_INVALID" },
    ]);
  };
  const lost = portMappings.findIndex(
    ({ hostPort: first, hostPortRangeEnd: last }) =>
      last !== undefined && (first === undefined || last < first),
  );
  if (lost >= 0) refuse(`port_mappings[${lost}].host_port_range_end`, "is below host_port");
  const mode = namespaces?.network?.mode.case;
  if (mode === undefined || networks.length > 0) return;
  if (publishAllPorts) refuse("publish_all_ports", "needs a network of its own");
  // With the host's network dockerd itself says that it discards them.
  if (mode !== "host" && portMappings.length > 0) {
    refuse("port_mappings", "needs a network of its own");
  }
}

/** dockerd has one word for the namespace and for the first network. */
function networkMode(
  namespace: Namespace | undefined,
  first: NetworkAttachment | undefined,
): string {
  if (namespace === undefined) return first?.network ?? "default";
  return namespaceMode(namespace, first?.network ?? "none");
}

function hostEntry({ hostname, target }: HostAlias): string {
  return `${hostname}:${target.case === "address" ? target.value : "host-gateway"}`;
}

/** Ports and name resolution as dockerd reports them. Undefined: nothing but its defaults. */
export function networkConfigFromDocker(json: ContainerJson): NetworkConfig | undefined {
  const { Config: config, HostConfig: host } = json;
  const read = create(NetworkConfigSchema, {
    exposedPorts: Object.keys(config.ExposedPorts ?? {}).map(portFromKey),
    portMappings: Object.entries(host.PortBindings ?? {}).flatMap(([key, bindings]) =>
      (bindings ?? []).map((binding) => mappingFromDocker(key, binding)),
    ),
    ...(host.PublishAllPorts && { publishAllPorts: true }),
    dnsServers: host.Dns ?? [],
    dnsSearches: host.DnsSearch ?? [],
    dnsOptions: host.DnsOptions ?? [],
    extraHosts: (host.ExtraHosts ?? []).map(hostEntryFromDocker),
  });
  return NetworkConfigSchema.fields.some((field) => isFieldSet(read, field)) ? read : undefined;
}

/** A container's network namespace as dockerd reports it. Undefined: its own, on its networks. */
export function networkNamespaceFromDocker({ HostConfig: host }: ContainerJson) {
  const { NetworkMode = "default" } = host;
  const isolated = { mode: { case: "isolated", value: {} } } as const;
  const shares = NetworkMode === "host" || NetworkMode.startsWith("container:");
  const found = shares ? namespaceFromMode(NetworkMode) : undefined;
  const namespace = NetworkMode === "none" ? isolated : found;
  return namespace && create(NamespaceSchema, namespace);
}

/** The networks that a container is attached to, the one that it was created on first. */
export function networksFromDocker(json: ContainerJson): NetworkAttachment[] {
  if (networkNamespaceFromDocker(json) !== undefined) return [];
  const { Id: id, Config: config, HostConfig: host, State: state } = json;
  const networks = json.NetworkSettings.Networks ?? {};
  const { NetworkMode = "default" } = host;
  const names = Object.keys(networks);
  const first =
    NetworkMode === "default"
      ? "bridge"
      : names.find((name) => name === NetworkMode || networks[name]?.NetworkID === NetworkMode);
  return names
    .toSorted((a, b) => Number(b === first) - Number(a === first))
    .map((network, index) => {
      const endpoint = networks[network] ?? {};
      // Once it has run, an endpoint has the address that it got, not what it was told.
      const requested = state.Status === "created" ? endpoint.MacAddress : undefined;
      const macAddress = (index === 0 && config.MacAddress) || requested;
      return create(NetworkAttachmentSchema, {
        network,
        endpoint: endpointFromDocker(endpoint, {
          ...(macAddress && { macAddress }),
          // dockerd keeps the links of its default bridge apart from all others'.
          links: (network === "bridge" ? host.Links : endpoint.Links) ?? [],
          ownAlias: id.slice(0, 12),
        }),
      });
    });
}

function hostEntryFromDocker(entry: string): MessageInitShape<typeof HostAliasSchema> {
  // Some clients write `name=address`, an address of IPv6 in brackets.
  const [, hostname = "", address = ""] =
    /^([^:=]+)=\[?((?<=\[)[^\]]+(?=\]$)|[\d.]+|host-gateway)\]?$/.exec(entry) ??
    /^([^:]*):(.*)$/s.exec(entry) ??
    [];
  return address === "host-gateway"
    ? { hostname, target: { case: "hostGateway", value: {} } }
    : { hostname, target: { case: "address", value: address } };
}

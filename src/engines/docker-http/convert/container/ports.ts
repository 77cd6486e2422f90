/** Converts ports between messages and dockerd's JSON. */
import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { PortMapping } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { PortMappingSchema } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { PortProtocol } from "../../../../../gen/nap/v1/types_pb.js";
import type { PortBindingJson } from "../../json.js";

const protocols: readonly [PortProtocol, string][] = [
  [PortProtocol.TCP, "tcp"],
  [PortProtocol.UDP, "udp"],
  [PortProtocol.SCTP, "sctp"],
];

/** Returns the host's ports that lead into a container in dockerd's request format. */
export function mappingsToDocker(
  portMappings: readonly PortMapping[],
): Record<string, PortBindingJson[]> {
  const bindings: Record<string, PortBindingJson[]> = {};
  for (const mapping of portMappings) {
    (bindings[portKey(mapping)] ??= []).push({
      HostIp: mapping.hostAddress ?? "",
      HostPort: hostPort(mapping.hostPort, mapping.hostPortRangeEnd),
    });
  }
  return bindings;
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

/** The port that dockerd names so. */
export function portFromKey(key: string): { containerPort: number; protocol: PortProtocol } {
  const [port = "", word = "tcp"] = key.split("/");
  return { containerPort: Number(port), protocol: protocolOf(word) };
}

function protocolOf(word: string): PortProtocol {
  return protocols.find(([, name]) => name === word)?.[0] ?? PortProtocol.UNSPECIFIED;
}

/** A port of the host that leads in, as dockerd reports what it was told. */
export function mappingFromDocker(
  key: string,
  { HostIp, HostPort }: PortBindingJson,
): MessageInitShape<typeof PortMappingSchema> {
  const [first, last] = (HostPort ?? "").split("-").map(Number);
  return {
    ...portFromKey(key),
    ...(HostIp && { hostAddress: HostIp }),
    ...(first && { hostPort: first }),
    ...(last && { hostPortRangeEnd: last }),
  };
}

/** The host's ports that lead in now, from inspect. */
export function publishedPorts(
  ports: Readonly<Record<string, PortBindingJson[] | null>> | null,
): PortMapping[] {
  return Object.entries(ports ?? {}).flatMap(([key, bindings]) =>
    (bindings ?? []).map(({ HostIp, HostPort }) =>
      create(PortMappingSchema, {
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
): PortMapping[] {
  return ports
    .filter(({ PublicPort }) => PublicPort !== undefined)
    .map(({ IP = "", PrivatePort, PublicPort = 0, Type }) =>
      create(PortMappingSchema, {
        containerPort: PrivatePort,
        protocol: protocolOf(Type),
        hostAddress: IP,
        hostPort: PublicPort,
      }),
    );
}

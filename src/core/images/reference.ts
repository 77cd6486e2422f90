/** Parses image references. */

/** An image reference. */
export interface Reference {
  /** Registry and repository. */
  readonly name: string;
  /** The tag, or the digest with its algorithm: `sha256:…`. */
  readonly tag: string;
  /** The separator of the two in the whole reference. */
  readonly separator: ":" | "@";
}

/** Parses `name`, `name:tag`, `name@digest` or `name:tag@digest`. The default tag is `latest`. */
export function parseReference(reference: string): Reference {
  const at = reference.indexOf("@");
  if (at >= 0) {
    const { name } = parseReference(reference.slice(0, at));
    return { name, tag: reference.slice(at + 1), separator: "@" };
  }
  const colon = reference.lastIndexOf(":");
  // A colon before a slash belongs to the registry's port.
  if (colon < 0 || reference.includes("/", colon)) {
    return { name: reference, tag: "latest", separator: ":" };
  }
  return { name: reference.slice(0, colon), tag: reference.slice(colon + 1), separator: ":" };
}

/** Returns the whole reference as text. */
export function referenceText({ name, tag, separator }: Reference): string {
  return `${name}${separator}${tag}`;
}

/** Returns the reference with its tag, by default `latest`. */
export function normalizeReference(reference: string): string {
  return referenceText(parseReference(reference));
}

/** The name of Docker Hub, the registry of references without one. */
const dockerHub = "docker.io";
const otherNameOfDockerHub = "index.docker.io";

/** Returns the registry of a reference, as host or host:port in lower case. */
function registryOf(reference: string): string {
  const [first = "", ...rest] = parseReference(reference).name.split("/");
  // A first component that cannot be a host belongs to the repository.
  const isHost = rest.length > 0 && (/[.:A-Z]/.test(first) || first === "localhost");
  return isHost ? normalizeRegistryHost(first) : dockerHub;
}

/** Returns whether an address (host or host:port) is the registry of a reference. */
export function isRegistryOf(reference: string, address: string): boolean {
  return normalizeRegistryHost(address) === registryOf(reference);
}

function normalizeRegistryHost(address: string): string {
  const host = address.toLowerCase();
  return host === otherNameOfDockerHub ? dockerHub : host;
}

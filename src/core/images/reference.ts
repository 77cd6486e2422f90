/** Takes apart image references. */

/** An image reference. */
export interface Reference {
  /** Registry and repository. */
  readonly name: string;
  /** The tag, or the digest with its algorithm: `sha256:…`. */
  readonly tag: string;
  /** What joins the two in the whole reference. */
  readonly separator: ":" | "@";
}

/** `name`, `name:tag`, `name@digest` or `name:tag@digest`. Without a tag it is `latest`. */
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

/** The whole reference. */
export function referenceText({ name, tag, separator }: Reference): string {
  return `${name}${separator}${tag}`;
}

/** A reference with the tag that it means. */
export function normalizeReference(reference: string): string {
  return referenceText(parseReference(reference));
}

/** What Docker Hub is called; a reference without a registry means it. */
const dockerHub = "docker.io";
const otherNameOfDockerHub = "index.docker.io";

/** The registry that a reference names, as host or host:port in small letters. */
function registryOf(reference: string): string {
  const [first = "", ...rest] = parseReference(reference).name.split("/");
  // A first part that cannot be a host belongs to the repository.
  const isHost = rest.length > 0 && (/[.:A-Z]/.test(first) || first === "localhost");
  return isHost ? normalizeRegistryHost(first) : dockerHub;
}

/** Whether an address, as host or host:port, is that of the registry that a reference names. */
export function isRegistryOf(reference: string, address: string): boolean {
  return normalizeRegistryHost(address) === registryOf(reference);
}

function normalizeRegistryHost(address: string): string {
  const host = address.toLowerCase();
  return host === otherNameOfDockerHub ? dockerHub : host;
}

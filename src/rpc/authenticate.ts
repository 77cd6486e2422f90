/** Authenticates callers by bearer token, client certificate, or the listener's default identity. */
import { createHash, X509Certificate } from "node:crypto";
import type { Metadata, ServerInterceptor } from "@grpc/grpc-js";
import { ServerInterceptingCall } from "@grpc/grpc-js";
import type { Credentials, Identity } from "../auth/identity.js";
import { NapError } from "../contract/errors.js";
import { statusOf } from "./status.js";

/**
 * Authenticates every call of one listener, including those of health and reflection. A bearer token,
 * valid or not, takes precedence over the client's certificate, and that over the listener's default.
 */
export class Authenticator {
  readonly #credentials: Credentials;
  readonly #fallback: Identity | undefined;
  readonly #refused: (method: string, metadata: Metadata) => void;
  readonly #admitted = new WeakMap<Metadata, Identity>();

  /**
   * Without `fallback` a call without credentials is rejected. `refused` is called for every rejected
   * call.
   */
  constructor(
    credentials: Credentials,
    fallback: Identity | undefined,
    refused: (method: string, metadata: Metadata) => void,
  ) {
    this.#credentials = credentials;
    this.#fallback = fallback;
    this.#refused = refused;
  }

  /** Rejects calls without valid credentials with UNAUTHENTICATED before anything reads their messages. */
  readonly interceptor: ServerInterceptor = ({ path }, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, proceed) => {
            try {
              const { sslPeerCertificate } = call.getAuthContext();
              this.#admitted.set(metadata, this.#identify(metadata, sslPeerCertificate?.raw));
            } catch (error) {
              this.#refused(path.slice(1), metadata);
              call.sendStatus(statusOf(error));
              return;
            }
            proceed(metadata);
          },
        }),
    });

  /** Returns the identity that sent this metadata. The interceptor must have authenticated the call. */
  identityOf(metadata: Metadata): Identity {
    const identity = this.#admitted.get(metadata);
    if (identity === undefined) throw unauthenticated("the call has not been admitted");
    return identity;
  }

  #identify(metadata: Metadata, certificate: Uint8Array | undefined): Identity {
    const sent = metadata.get("authorization");
    if (sent.length > 0) {
      const token = sent.length === 1 ? /^Bearer +(\S+)$/i.exec(String(sent[0]))?.[1] : undefined;
      const digest = token && createHash("sha256").update(token).digest("hex");
      const identity = digest && this.#credentials.tokens.get(digest);
      if (!identity) throw unauthenticated("the bearer token is not known");
      return identity;
    }
    if (certificate !== undefined) {
      for (const name of certificateNames(new X509Certificate(certificate))) {
        const identity = this.#credentials.certificates.get(name);
        if (identity !== undefined) return identity;
      }
      if (this.#fallback === undefined) {
        throw unauthenticated("the client certificate names no identity of this server");
      }
    }
    if (this.#fallback !== undefined) return this.#fallback;
    throw unauthenticated("send a bearer token or a client certificate");
  }
}

function unauthenticated(message: string): NapError {
  return new NapError("UNAUTHENTICATED", message);
}

/** Returns the names in a certificate: URIs, then host names, then the common name. */
export function certificateNames(
  certificate: Pick<X509Certificate, "subjectAltName" | "subject">,
): string[] {
  const alternatives = alternativeNames(certificate.subjectAltName ?? "");
  const ofKind = (kind: string): string[] =>
    alternatives.filter(([found]) => found === kind).map(([, name]) => name);
  // Node writes one attribute per line, and escapes line ends within one.
  const commonNames = certificate.subject
    .split("\n")
    .filter((line) => line.startsWith("CN="))
    .map((line) => line.slice(3));
  // A certificate with several common names is ambiguous, so none is used.
  return [...ofKind("URI"), ...ofKind("DNS"), ...(commonNames.length === 1 ? commonNames : [])];
}

/**
 * Parses a subject's alternative names in Node's format: `DNS:a, URI:b`. Node writes a name with a comma
 * or a quote as a JSON string, so one name cannot be read as two.
 */
function alternativeNames(text: string): [kind: string, name: string][] {
  return [...text.matchAll(/([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/g)].map(
    ([, kind = "", name = ""]) => [kind, name.startsWith('"') ? String(JSON.parse(name)) : name],
  );
}

/** Certificates for tests: an authority, a server at 127.0.0.1, and a client. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** The files made in a directory. */
export interface Certificates {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly clientCert: string;
  readonly clientKey: string;
}

const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}

/** Makes the certificates, valid for a day. */
export function makeCertificates(directory: string): Certificates {
  const path = (name: string): string => join(directory, name);
  const authority = ["-keyout", path("ca.key"), "-out", path("ca.pem")];
  openssl("req", "-x509", ...newKey, "-days", "1", "-subj", "/CN=nap test", ...authority);
  makeCertificate(directory, "server", "IP:127.0.0.1");
  makeCertificate(directory, "client", "IP:127.0.0.1");
  return {
    ca: path("ca.pem"),
    serverCert: path("server.pem"),
    serverKey: path("server.key"),
    clientCert: path("client.pem"),
    clientKey: path("client.key"),
  };
}

/** Makes one more, signed by the directory's authority, as `<name>.pem` and `<name>.key`. */
export function makeCertificate(directory: string, name: string, alternativeName: string): void {
  const path = (file: string): string => join(directory, file);
  const extensions = path(`${name}.ext`);
  const usage = "extendedKeyUsage=serverAuth,clientAuth";
  writeFileSync(extensions, `subjectAltName=${alternativeName}\n${usage}\n`);
  const [key, request] = [path(`${name}.key`), path(`${name}.csr`)];
  openssl("req", ...newKey, "-subj", `/CN=${name}`, "-keyout", key, "-out", request);
  const signer = ["-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial"];
  const out = ["-days", "1", "-extfile", extensions, "-out", path(`${name}.pem`)];
  openssl("x509", "-req", "-in", request, ...signer, ...out);
}

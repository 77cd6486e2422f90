/** Reads the uploads of the contract: `open`, then bytes, and for some uploads `close`. */
import type {
  WriteArchiveClose,
  WriteContainerArchiveRequest,
} from "../../../gen/nap/v1/container_service_pb.js";
import { fieldError, NapError } from "../../contract/errors.js";
import type { SpoolFile } from "./spool.js";

/** A message of an upload. */
interface UploadRequest {
  readonly payload:
    | { readonly case: "open"; readonly value: unknown }
    | { readonly case: "data"; readonly value: Uint8Array }
    | { readonly case: undefined; readonly value?: undefined };
}

/** Yields the bytes of an upload after its `open`. Fails with ARCHIVE_INVALID if there are none. */
export async function* uploadBytes(
  incoming: AsyncIterator<UploadRequest>,
): AsyncGenerator<Uint8Array> {
  let empty = true;
  for (;;) {
    const { value, done } = await incoming.next();
    if (done) break;
    const { payload } = value;
    if (payload.case !== "data" || payload.value.length === 0) continue;
    empty = false;
    yield payload.value;
  }
  if (empty) throw new NapError("ARCHIVE_INVALID", "the archive is empty");
}

/**
 * Writes an archive's upload after its `open` to a file until the client half-closes, and calls `received`
 * with the number of bytes so far. Fails with FIELD_INVALID if the upload does not end with `close` or
 * does not match it.
 */
export async function takeArchive(
  incoming: AsyncIterator<WriteContainerArchiveRequest>,
  file: SpoolFile,
  received: (bytes: number) => void,
): Promise<void> {
  let close: WriteArchiveClose | undefined;
  for (;;) {
    const { value, done } = await incoming.next();
    if (done) break;
    const { payload } = value;
    if (close !== undefined) throw misplaced("close", "stands in the last message alone");
    if (payload.case === "close") close = payload.value;
    if (payload.case !== "data") continue;
    await file.append(payload.value);
    received(file.sizeBytes);
  }
  if (close === undefined) throw misplaced("close", "is missing: the upload broke off");
  const { sizeBytes, sha256 } = close;
  if (sizeBytes !== BigInt(file.sizeBytes)) {
    throw misplaced("close.size_bytes", `is ${sizeBytes}, and ${file.sizeBytes} bytes came`);
  }
  if (sha256.length > 0 && !file.sha256().equals(sha256)) {
    throw misplaced("close.sha256", "is not the SHA-256 digest of the bytes that came");
  }
}

function misplaced(field: string, description: string): NapError {
  return fieldError([{ field, description, reason: "FIELD_INVALID" }]);
}

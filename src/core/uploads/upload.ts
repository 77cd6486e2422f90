/** Reads the uploads of the contract: a message that opens, then bytes, and for some one that closes. */
import type {
  WriteArchiveClose,
  WriteArchiveOpen,
  WriteContainerArchiveRequest,
} from "../../../gen/nap/v1/container_service_pb.js";
import type { LoadImagesRequest } from "../../../gen/nap/v1/image_service_pb.js";
import { fieldError, NapError } from "../../contract/errors.js";
import type { SpoolFile } from "./spool.js";

/** A message of an upload that is opened. */
interface UploadRequest {
  readonly action:
    | { readonly case: "open"; readonly value: unknown }
    | { readonly case: "data"; readonly value: Uint8Array }
    | { readonly case: undefined; readonly value?: undefined };
}

/** What opens the uploads that have such messages. */
type OpenOf<R extends UploadRequest> = Extract<R["action"], { case: "open" }>["value"];

/** The message that opens an upload. Fails with FIELD_INVALID where it is another one. */
export async function uploadOpen<R extends UploadRequest>(
  incoming: AsyncIterator<R>,
): Promise<OpenOf<R>> {
  const { value } = (await incoming.next()) as { value?: UploadRequest };
  if (value?.action.case === "open") return value.action.value;
  throw misplaced("open", "stands in the first message");
}

/** The bytes behind it. Fails with ARCHIVE_INVALID where there are none. */
export async function* uploadBytes(
  incoming: AsyncIterator<UploadRequest>,
): AsyncGenerator<Uint8Array> {
  yield* someBytes(dataOf(incoming));
}

/** The bytes of an upload that nothing opens. Fails with ARCHIVE_INVALID where there are none. */
export async function* loadBytes(
  requests: AsyncIterable<LoadImagesRequest>,
): AsyncGenerator<Uint8Array> {
  const data = async function* (): AsyncGenerator<Uint8Array> {
    for await (const request of requests) yield request.data;
  };
  yield* someBytes(data());
}

async function* dataOf(incoming: AsyncIterator<UploadRequest>): AsyncGenerator<Uint8Array> {
  for (;;) {
    const { value, done } = await incoming.next();
    if (done) return;
    const { action } = value;
    if (action.case !== "data") throw misplaced("open", "stands in the first message alone");
    yield action.value;
  }
}

async function* someBytes(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let empty = true;
  for await (const data of source) {
    if (data.length === 0) continue;
    empty = false;
    yield data;
  }
  if (empty) throw new NapError("ARCHIVE_INVALID", "the archive is empty");
}

/** What the first message of an archive's upload says. Fails with FIELD_INVALID. */
export async function archiveOpen(
  incoming: AsyncIterator<WriteContainerArchiveRequest>,
): Promise<{ readonly container: string; readonly open: WriteArchiveOpen }> {
  const { value } = (await incoming.next()) as { value?: WriteContainerArchiveRequest };
  if (value?.action.case !== "open") throw misplaced("open", "stands in the first message");
  if (value.container === "") throw misplaced("container", "is required in the first message");
  return { container: value.container, open: value.action.value };
}

/**
 * Takes the rest of an archive's upload into a file, to the end of the client's side. Fails with
 * FIELD_INVALID where the upload does not end with a close, or is not what that says.
 */
export async function takeArchive(
  incoming: AsyncIterator<WriteContainerArchiveRequest>,
  file: SpoolFile,
): Promise<void> {
  let close: WriteArchiveClose | undefined;
  for (;;) {
    const { value, done } = await incoming.next();
    if (done) break;
    const { action } = value;
    if (close !== undefined) throw misplaced("close", "stands in the last message alone");
    if (action.case === "close") close = action.value;
    else if (action.case === "data") await file.append(action.value);
    else throw misplaced("open", "stands in the first message alone");
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

/** Reads the uploads of the contract: a message that opens, then bytes. */
import type { ImportImageOpen, ImportImageRequest } from "../../gen/nap/v1/image_service_pb.js";
import { fieldError, NapError } from "./error.js";

/** The message that opens an import. Fails with FIELD_INVALID where it is another one. */
export async function importOpen(
  incoming: AsyncIterator<ImportImageRequest>,
): Promise<ImportImageOpen> {
  const { value } = (await incoming.next()) as { value?: ImportImageRequest };
  if (value?.action.case === "open") return value.action.value;
  const description = "stands in the first message";
  throw fieldError([{ field: "open", description, kind: "FIELD_INVALID" }]);
}

/** The bytes of an import. Fails with ARCHIVE_INVALID where there are none. */
export async function* importBytes(
  incoming: AsyncIterator<ImportImageRequest>,
): AsyncGenerator<Uint8Array> {
  let empty = true;
  for (;;) {
    const { value, done } = await incoming.next();
    if (done) break;
    const { action } = value;
    if (action.case !== "data") {
      const description = "stands in the first message alone";
      throw fieldError([{ field: "open", description, kind: "FIELD_INVALID" }]);
    }
    if (action.value.length === 0) continue;
    empty = false;
    yield action.value;
  }
  if (empty) throw new NapError("ARCHIVE_INVALID", "the archive is empty");
}

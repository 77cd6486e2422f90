/** Reads the uploads of the contract: a message that opens, where there is one, then bytes. */
import type { LoadImagesRequest } from "../../gen/nap/v1/image_service_pb.js";
import { fieldError, NapError } from "./error.js";

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
  const description = "stands in the first message";
  throw fieldError([{ field: "open", description, kind: "FIELD_INVALID" }]);
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
    if (action.case !== "data") {
      const description = "stands in the first message alone";
      throw fieldError([{ field: "open", description, kind: "FIELD_INVALID" }]);
    }
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

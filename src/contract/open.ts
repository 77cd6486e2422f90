/**
 * The field `open` of a stream's requests. It is set in the first one, and names the engine and the
 * object.
 */
import type { DescField, DescMessage } from "@bufbuild/protobuf";

/** A request of a stream. */
interface StreamRequest {
  readonly payload: { readonly case: string | undefined; readonly value?: unknown };
}

type OpenOf<R extends StreamRequest> = Extract<R["payload"], { case: "open" }>["value"];

/** Returns the field `open` of a request; undefined if the method takes one request. */
export function openField(
  request: DescMessage,
): (DescField & { readonly fieldKind: "message" }) | undefined {
  const field = request.field["open"];
  return field?.fieldKind === "message" ? field : undefined;
}

/** Reads the first request of a stream. `dispatch` has checked that only this request has `open`. */
export async function readOpen<R extends StreamRequest>(
  incoming: AsyncIterator<R>,
): Promise<OpenOf<R>> {
  const { value } = (await incoming.next()) as { value?: R };
  if (value?.payload.case !== "open") throw new Error("a stream of requests begins without open");
  return value.payload.value;
}

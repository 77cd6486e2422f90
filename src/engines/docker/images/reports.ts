/** Reads what dockerd reports while it works on images: one JSON document a line. */
import { Readable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import type { TransferProgress } from "../../../../gen/nap/v1/types_pb.js";
import { TransferProgressSchema } from "../../../../gen/nap/v1/types_pb.js";
import { DockerStatusError } from "../../docker-http/client.js";
import type { DockerRequest } from "../../docker-http/client.js";
import { parseAnswer } from "../../docker-http/response.js";
import type { DockerConnection } from "../connection.js";
import type { Operation } from "../errors.js";
import { mapDockerError, withDockerErrors } from "../errors.js";
import { lineBatches } from "../../docker-http/lines.js";

/** One line. */
export interface ReportJson {
  /** The current operation. */
  readonly status?: string;
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  /** Output of a build, or the result of a load. */
  readonly stream?: string;
  /** The result. */
  readonly aux?: { readonly ID?: string; readonly Tag?: string; readonly Digest?: string };
  /** Once the first line is out, dockerd has no status left to say that it failed. */
  readonly error?: string;
  readonly errorDetail?: { readonly code?: number };
}

/** An operation of dockerd that reports progress, in addition to its request. */
export interface ReportedRequest {
  /** The resource of its errors. */
  readonly resource: string;
  readonly operation: Operation;
  /** Sent as the body. */
  readonly bytes?: AsyncIterable<Uint8Array>;
  /** Maps a failure that dockerd reports in a line. Default: by its message. */
  readonly failed?: (failure: ReportJson, error: DockerStatusError) => unknown;
}

/**
 * Sends a request and yields the lines that each read brings. A failure is thrown behind the lines
 * before it. However the reader leaves, the connection is closed, which ends dockerd's work.
 */
export async function* reports(
  docker: DockerConnection,
  request: DockerRequest,
  { resource, operation, bytes, failed }: ReportedRequest,
  signal: AbortSignal,
): AsyncGenerator<ReportJson[]> {
  const upload = bytes && Readable.from(bytes, { objectMode: false });
  try {
    const call = docker.api.stream({ ...request, ...(upload && { upload }) }, signal);
    const source = await withDockerErrors(call, resource, operation);
    for await (const lines of lineBatches(docker.api.read(source, signal))) {
      const batch = lines.map((line) => parseAnswer<ReportJson>(line));
      const end = batch.findIndex(({ error }) => error !== undefined);
      const failure = batch[end];
      const before = failure === undefined ? batch : batch.slice(0, end);
      if (before.length > 0) yield before;
      if (failure === undefined) continue;
      const error = new DockerStatusError(500, failure.error ?? "");
      throw failed?.(failure, error) ?? mapDockerError(error, resource, operation);
    }
  } catch (error) {
    // An error of the client's upload breaks the connection, and is reported instead of that.
    throw upload?.errored ?? error;
  } finally {
    upload?.destroy();
  }
}

/** Returns the progress of a transfer. */
export function progress({
  status = "",
  id = "",
  progressDetail = {},
}: ReportJson): TransferProgress {
  const { current, total } = progressDetail;
  return create(TransferProgressSchema, {
    part: id,
    phase: status,
    ...(current !== undefined && { currentBytes: BigInt(current) }),
    ...(total !== undefined && total > 0 && { totalBytes: BigInt(total) }),
  });
}

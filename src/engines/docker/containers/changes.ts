/** Containers on Docker: their file systems. */
import { create } from "@bufbuild/protobuf";
import type { ContainerService } from "../../../../gen/nap/v1/container_service_pb.js";
import {
  CommitContainerResponseSchema,
  FileChangeKind,
  FileChangeSchema,
  ListContainerChangesResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { Methods } from "../../../core/engine.js";
import { internalLabelPrefix } from "../../../contract/reserved-labels.js";
import { linePages, pageOf } from "../../../core/lists/page.js";
import { pathPart } from "../../docker-http/client.js";
import type { DockerConnection } from "../connection.js";
import { inspectContainer, named } from "./reads.js";
import { withDockerErrors } from "../errors.js";
import { parseReference } from "../../../core/images/reference.js";

/** A changed file as dockerd reports it. */
interface ChangeJson {
  readonly Path: string;
  readonly Kind: number;
}

/** dockerd's numbers for what was done to a file. */
const changeKinds = [FileChangeKind.MODIFIED, FileChangeKind.ADDED, FileChangeKind.DELETED];

/** The calls on a container's file system. */
export function containerFileMethods(docker: DockerConnection) {
  return {
    listContainerChanges: async (request, { signal }) => {
      const path = `/containers/${pathPart(request.container)}/changes`;
      const call = docker.api.json<ChangeJson[] | null>({ path, allowLongRunning: true }, signal);
      const { body } = await withDockerErrors(call, request.container, named);
      const { items, nextPageToken } = await pageOf(body ?? [], request, {
        key: ({ Path }) => Path,
        load: async (page) =>
          page.map(({ Path, Kind }) =>
            create(FileChangeSchema, { path: Path, kind: changeKinds[Kind] }),
          ),
        schema: FileChangeSchema,
        sizes: linePages,
      });
      return create(ListContainerChangesResponseSchema, { changes: items, nextPageToken });
    },

    commitContainer: async (request) => {
      const { container, reference, message, author, pause = true, instructions } = request;
      const { Id, Config } = await inspectContainer(docker, container);
      // The image would have the labels of the container. Instructions cannot take them away, only
      // empty them, and nap takes an empty one for none.
      const ours = Object.keys(Config.Labels ?? {}).filter((key) =>
        key.startsWith(internalLabelPrefix),
      );
      const { name: repo, tag } = parseReference(reference);
      const query = {
        container: Id,
        ...(reference !== "" && { repo, tag }),
        ...(message !== "" && { comment: message }),
        ...(author !== "" && { author }),
        pause,
        changes: [...instructions, ...ours.map((key) => `LABEL "${key}"=""`)],
      };
      const call = docker.api.json<{ Id: string }>({ method: "POST", path: "/commit", query });
      const field = instructions.length > 0 ? "instructions" : "reference";
      const { body } = await withDockerErrors(call, container, { ...named, field });
      return create(CommitContainerResponseSchema, { imageId: body.Id });
    },
  } satisfies Methods<typeof ContainerService>;
}

/** Containers on runC: creating, showing and removing them. */
import { randomBytes } from "node:crypto";
import { mkdir, stat, writeFile } from "node:fs/promises";
import { hostname as hostName } from "node:os";
import { join } from "node:path";
import type { DescMessage } from "@bufbuild/protobuf";
import { clone, create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type {
  Container,
  ContainerService,
  CreateContainerRequest,
  RunContainerRequest,
} from "../../../../gen/nap/v1/container_service_pb.js";
import {
  ContainerSchema,
  ContainerState,
  CreateContainerRequestSchema,
  CreateContainerResponseSchema,
  GetContainerResponseSchema,
  ListContainersResponseSchema,
  RemoveContainerResponseSchema,
} from "../../../../gen/nap/v1/container_service_pb.js";
import type { ContainerSpec } from "../../../../gen/nap/v1/container_spec_pb.js";
import { ContainerSpecSchema } from "../../../../gen/nap/v1/container_spec_pb.js";
import { EventAction } from "../../../../gen/nap/v1/engine_service_pb.js";
import { ImageConfigSchema } from "../../../../gen/nap/v1/image_service_pb.js";
import { ListView } from "../../../../gen/nap/v1/types_pb.js";
import type { Call, Methods } from "../../../core/engine.js";
import { resolveBindRoots } from "../../../core/mounts/rooted-mounts.js";
import { imageOf } from "../../../contract/container-source.js";
import { fieldError, NapError, undefinedIf } from "../../../contract/errors.js";
import { matchesRequest, provenanceLabels } from "../../../contract/reserved-labels.js";
import { rejectDuplicateTargets } from "../../../core/mounts/targets.js";
import { newestFirst, pageOf } from "../../../core/lists/page.js";
import { containerMatches } from "../../../core/lists/filters.js";
import { sleep } from "../../../lib/sleep.js";
import { run, runChecked } from "../runtime/command.js";
import { bundleConfig, commandLine, unknownCapabilities } from "../convert/bundle.js";
import type { RuncContext } from "../context.js";
import { resolveIdentity } from "../runtime/process-user.js";
import type { StoredImage } from "../images/images.js";
import { findImage, unpackImage } from "../images/images.js";
import { deleteFromRuntime, shimLives } from "../runtime/shim.js";
import type { Stored } from "../runtime/store.js";
import { createdSeconds } from "../runtime/store.js";

/** The calls that create, show and remove containers. */
export function containerMethods(host: RuncContext) {
  const { store } = host;
  return {
    createContainer: async (request, call) => {
      const { signal } = call;
      const { stored, existed } = await createContainer(
        host,
        request,
        CreateContainerRequestSchema,
        call,
      );
      if (signal.aborted && request.requestId === "" && !existed) {
        await removeContainer(host, stored);
        throw signal.reason;
      }
      const container = await currentContainer(host, stored);
      return create(CreateContainerResponseSchema, { container });
    },

    getContainer: async (request) => {
      const container = await currentContainer(host, store.find(request.container));
      return create(GetContainerResponseSchema, { container });
    },

    listContainers: async (request) => {
      const all = await Promise.all(
        store.all.map(async (stored) => ({ stored, now: await currentContainer(host, stored) })),
      );
      const selected = all.filter(({ now }) => containerMatches(now, request.filter));
      const { items, nextPageToken } = await pageOf(selected, request, {
        key: ({ stored, now }) => newestFirst(createdSeconds(stored), now.id),
        load: async (page) =>
          page.map(({ now }) => (request.view === ListView.FULL ? now : basicView(now))),
        schema: ContainerSchema,
      });
      return create(ListContainersResponseSchema, { containers: items, nextPageToken });
    },

    removeContainer: async ({ container: key, force }) => {
      const stored = store.find(key);
      await removeContainer(host, stored, force ? undefined : key);
      return create(RemoveContainerResponseSchema);
    },
  } satisfies Methods<typeof ContainerService>;
}

/** A list shows of a spec what Docker's list shows, so that both views cost alike everywhere. */
function basicView(container: Container): Container {
  const { spec, startTime: _start, exit: _exit, pid: _pid, ...rest } = container;
  const { source, labels = {} } = spec ?? {};
  return { ...rest, spec: create(ContainerSpecSchema, { ...(source && { source }), labels }) };
}

/** Returns the container as it is now. If its shim was killed, its exit code is unknown. */
export async function currentContainer(host: RuncContext, stored: Stored): Promise<Container> {
  const now = await host.store.current(stored);
  if (now.state !== ContainerState.RUNNING || (await shimLives(host.store, now.id))) return now;
  // The exit file may have come between the two looks.
  const again = await host.store.current(stored);
  if (again.state !== ContainerState.RUNNING) return again;
  const lost = clone(ContainerSchema, again);
  lost.state = ContainerState.DEAD;
  lost.engineError = "its shim was killed, so that its exit code is not known";
  return lost;
}

/** A container just made, or made before by a request with the same request_id. */
export interface CreatedContainer {
  readonly stored: Stored;
  readonly existed: boolean;
}

/** Creates a container, or finds the one that the same request made before. */
export async function createContainer(
  host: RuncContext,
  request: CreateContainerRequest | RunContainerRequest,
  schema: DescMessage,
  call: Call,
): Promise<CreatedContainer> {
  return host.withLock("create", async () => {
    const before = host.store.all.find(({ ownLabels }) =>
      matchesRequest(schema, request, call.identity, ownLabels),
    );
    if (before !== undefined) return { stored: before, existed: true };
    const { spec: given = create(ContainerSpecSchema), requestId } = request;
    const id = randomBytes(32).toString("hex");
    const name = request.name === "" ? `nap-${id.slice(0, 12)}` : request.name;
    if (host.store.byName(name) !== undefined) {
      throw new NapError("NAME_IN_USE", `the name ${name} is taken`, { resource: name });
    }
    // The image cannot be removed meanwhile: that takes this lock, too.
    const found = await presentImage(host, imageOf(given));
    const image = found.image.config ?? create(ImageConfigSchema);
    if (commandLine({ spec: given, image }).length === 0) {
      const description = "neither the request nor the image says what to run";
      throw fieldError([{ field: "spec.command", description, reason: "FIELD_INVALID" }]);
    }
    rejectDuplicateTargets(given.mounts);
    const unknown = unknownCapabilities(given);
    if (unknown.length > 0) {
      const description = "there is no such capability";
      const reason = "FIELD_INVALID" as const;
      throw fieldError(unknown.map((field) => ({ field, description, reason })));
    }
    const { spec, ownLabels } = await resolveBindRoots(host.bindRoots, given, call.identity.name);
    await requireBindSources(spec);
    const lower = await host.withImageLock(() => unpackImage(host, found));
    const user = spec.user ?? image.user;
    const identity = await resolveIdentity(lower, user, spec.additionalGroups, "spec.user");
    const container = create(ContainerSchema, {
      engine: host.name,
      id,
      name,
      spec: { ...spec, stopSignal: spec.stopSignal ?? (image.stopSignal || undefined) },
      imageId: found.image.id,
      state: ContainerState.CREATED,
      createTime: timestampNow(),
      requestId,
      owner: call.identity.name,
    });
    const stored = {
      container,
      ownLabels: { ...ownLabels, ...provenanceLabels(schema, request, call.identity) },
      imageDigest: found.image.id,
    };
    const paths = host.store.paths(id);
    await mkdir(paths.directory, { recursive: true, mode: 0o700 });
    const { cgroupParent } = host;
    const config = bundleConfig({ id, spec, image, identity, paths, cgroupParent });
    await writeFile(paths.bundleConfig, JSON.stringify(config));
    await writeSystemFiles(paths.directory, container);
    // The record comes last: a directory without one is swept away when nap comes back.
    await host.store.add(stored);
    host.report(EventAction.CREATE, "create", container);
    return { stored, existed: false };
  });
}

/** The image that a container is made from. There is no registry to pull it from. */
async function presentImage(host: RuncContext, reference: string): Promise<StoredImage> {
  const found = await undefinedIf("IMAGE_NOT_FOUND", findImage(host, reference));
  if (found !== undefined) return found;
  const message = `no such image: ${reference}; nap pulls none for runC: import or load it first`;
  throw new NapError("IMAGE_NOT_FOUND", message, { resource: reference });
}

async function requireBindSources({ mounts }: ContainerSpec): Promise<void> {
  for (const { source } of mounts) {
    if (source.case !== "bind" || source.value.origin.case !== "hostPath") continue;
    const path = source.value.origin.value;
    if ((await stat(path).catch(() => undefined)) !== undefined) continue;
    const message = `${path} is not on the host`;
    throw new NapError("BIND_SOURCE_NOT_FOUND", message, { resource: path });
  }
}

/** The files of /etc that say what the container is called. */
async function writeSystemFiles(directory: string, { id, spec }: Container): Promise<void> {
  const hostNetwork = spec?.namespaces?.network?.mode.case === "host";
  const name = hostNetwork ? hostName() : (spec?.hostname ?? id.slice(0, 12));
  const hosts = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost", `127.0.1.1\t${name}`];
  await writeFile(join(directory, "hostname"), `${name}\n`);
  await writeFile(join(directory, "hosts"), `${hosts.join("\n")}\n`);
  const resolver = hostNetwork ? (await run("cat", ["/etc/resolv.conf"])).stdout : "";
  await writeFile(join(directory, "resolv.conf"), resolver);
}

/** Mounts the container's own root file system over its image's. */
export async function mountRootfs(
  { store }: RuncContext,
  { container, imageDigest }: Stored,
): Promise<void> {
  const { rootfs, upper, work } = store.paths(container.id);
  for (const directory of [rootfs, upper, work]) await mkdir(directory, { recursive: true });
  // The same upper directory twice is taken by the kernel, and breaks it.
  if ((await run("mountpoint", ["-q", rootfs])).code === 0) return;
  const lower = store.unpacked(imageDigest).replaceAll(/[\\:,]/g, "\\$&");
  const own = [
    `upperdir=${upper.replaceAll(",", "\\,")}`,
    `workdir=${work.replaceAll(",", "\\,")}`,
  ];
  const options = [`lowerdir=${lower}`, ...own].join(",");
  await runChecked("mount", ["-t", "overlay", "overlay", "-o", options, rootfs]);
}

/** Takes a container that has ended out of the runtime, and its root file system off. */
export async function settle({ store }: RuncContext, id: string): Promise<void> {
  await deleteFromRuntime(store, id);
  await run("umount", [store.paths(id).rootfs]);
}

/**
 * Removes everything of a container. One that runs is killed, unless `idleKey`, the name that a client
 * gave it, says that it must not run; then it fails with CONTAINER_RUNNING.
 */
export async function removeContainer(
  host: RuncContext,
  stored: Stored,
  idleKey?: string,
): Promise<void> {
  const { id } = stored.container;
  await host.withLock(`container ${id}`, async () => {
    if (host.store.isGone(id)) return;
    if (idleKey !== undefined) {
      const { state } = await currentContainer(host, stored);
      if (state === ContainerState.RUNNING) {
        throw new NapError("CONTAINER_RUNNING", `container ${idleKey} runs`, { resource: idleKey });
      }
    }
    await settle(host, id);
    const last = await endAfterKill(host, stored);
    if (last.startTime !== undefined) host.reportExit(last);
    await host.store.remove(last);
    host.report(EventAction.REMOVE, "destroy", stored.container);
  });
}

/** conmon writes the exit file about a millisecond after the end; a killed shim writes none. */
async function endAfterKill(host: RuncContext, stored: Stored): Promise<Container> {
  for (let tries = 0; tries < 50; tries++) {
    const now = await currentContainer(host, stored);
    if (now.state !== ContainerState.RUNNING) return now;
    await sleep(10, new AbortController().signal);
  }
  return currentContainer(host, stored);
}

/**
 * Server reflection, v1 and v1alpha, over the descriptors that the generated code carries.
 *
 * The descriptors are served as they were compiled, including `optional` and custom options, which a
 * conversion to another representation would lose.
 */
import type { DescExtension, DescFile, DescService, Message, Registry } from "@bufbuild/protobuf";
import { create, createRegistry, toBinary } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { status as Code } from "@grpc/grpc-js";
import type {
  ServerReflectionRequest,
  ServerReflectionResponse,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import {
  ServerReflection,
  ServerReflectionResponseSchema,
} from "../../gen/grpc/reflection/v1/reflection_pb.js";
import {
  ServerReflection as ServerReflectionAlpha,
  ServerReflectionResponseSchema as AlphaResponseSchema,
} from "../../gen/grpc/reflection/v1alpha/reflection_pb.js";
import type { Binding, BoundService } from "./grpc-adapter.js";
import { bind } from "./grpc-adapter.js";

type Answer = Exclude<ServerReflectionResponse["messageResponse"], { case: undefined }>;

/**
 * Returns the two reflection services for `services`, which list themselves, too. Symbols of the `further`
 * files are also found.
 */
export function reflection(
  services: readonly DescService[],
  further: readonly DescFile[],
  binding: Binding,
): BoundService[] {
  const listed = [...services, ServerReflection, ServerReflectionAlpha];
  const roots = [...listed.map(({ file }) => file), ...further];
  const files = [...new Set(roots.flatMap((file) => [...withImports(file)]))];
  const registry = createRegistry(...files);
  // The two versions differ only in their package.
  const serve = (service: DescService, schema: GenMessage<Message>): BoundService =>
    bind(
      service,
      () =>
        async function* (requests) {
          for await (const message of requests) {
            const originalRequest = message as ServerReflectionRequest;
            const messageResponse = answer(listed, files, registry, originalRequest);
            const { host: validHost } = originalRequest;
            yield create(schema, { validHost, originalRequest, messageResponse } as object);
          }
        },
      binding,
    );
  return [
    serve(ServerReflection, ServerReflectionResponseSchema),
    serve(ServerReflectionAlpha, AlphaResponseSchema),
  ];
}

function* withImports(file: DescFile): Generator<DescFile> {
  yield file;
  for (const dependency of file.dependencies) yield* withImports(dependency);
}

function answer(
  services: readonly DescService[],
  files: readonly DescFile[],
  registry: Registry,
  { messageRequest }: ServerReflectionRequest,
): Answer {
  switch (messageRequest.case) {
    case "listServices": {
      const service = services.map(({ typeName: name }) => ({ name }));
      return { case: "listServicesResponse", value: { service } } as Answer;
    }
    case "fileByFilename":
      return fileAnswer(files.find(({ proto }) => proto.name === messageRequest.value));
    case "fileContainingSymbol":
      return fileAnswer(fileOfSymbol(registry, messageRequest.value));
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = messageRequest.value;
      const found = extensionsOf(registry, containingType);
      return fileAnswer(found.find(({ number }) => number === extensionNumber)?.file);
    }
    case "allExtensionNumbersOfType": {
      const baseTypeName = messageRequest.value;
      const extensionNumber = extensionsOf(registry, baseTypeName).map(({ number }) => number);
      const value = { baseTypeName, extensionNumber };
      return { case: "allExtensionNumbersResponse", value } as Answer;
    }
    default:
      return errorAnswer(Code.INVALID_ARGUMENT, "the request asks for nothing");
  }
}

/** Returns the file that declares a symbol: a type, a service, or a member of one. */
function fileOfSymbol(registry: Registry, symbol: string): DescFile | undefined {
  const found = registry.get(symbol);
  if (found !== undefined) return found.file;
  const dot = symbol.lastIndexOf(".");
  const parent = dot < 0 ? undefined : registry.get(symbol.slice(0, dot));
  const member = symbol.slice(dot + 1);
  switch (parent?.kind) {
    case "service":
      return parent.methods.some(({ name }) => name === member) ? parent.file : undefined;
    case "message":
      return parent.fields.some(({ name }) => name === member) ? parent.file : undefined;
    default:
      return undefined;
  }
}

function extensionsOf(registry: Registry, typeName: string): DescExtension[] {
  return [...registry].filter(
    (desc): desc is DescExtension =>
      desc.kind === "extension" && desc.extendee.typeName === typeName,
  );
}

function fileAnswer(file: DescFile | undefined): Answer {
  if (file === undefined) return errorAnswer(Code.NOT_FOUND, "not found");
  const fileDescriptorProto = [...new Set(withImports(file))].map(({ proto }) =>
    toBinary(FileDescriptorProtoSchema, proto),
  );
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } } as Answer;
}

function errorAnswer(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } } as Answer;
}

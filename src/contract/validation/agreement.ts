/** Rules of the contract that involve several fields, the same for all engines. */
import type { Message } from "@bufbuild/protobuf";
import type {
  CreateContainerRequest,
  RunContainerRequest,
} from "../../../gen/nap/v1/container_service_pb.js";
import { PullPolicy } from "../../../gen/nap/v1/container_service_pb.js";
import type { ContainerSpec } from "../../../gen/nap/v1/container_spec_pb.js";
import { wrongClears } from "./clear.js";
import type { FieldViolation } from "../errors.js";
import { fieldPath } from "../walk.js";

type Rule = (message: never) => Iterable<[field: string, description: string]>;

const rules: Readonly<Record<string, Rule>> = {
  "nap.v1.ContainerSpec": setsOrUnsets,
  "nap.v1.CreateContainerRequest": pullsImage,
  "nap.v1.RunContainerRequest": pullsImage,
  "nap.v1.UpdateContainerRequest": wrongClears,
};

/** Yields the violations of the message at `path`. */
export function* disagreements(path: string, message: Message): Generator<FieldViolation> {
  for (const [field, description] of rules[message.$typeName]?.(message as never) ?? []) {
    yield { field: fieldPath(path, field), description, reason: "FIELD_INVALID" };
  }
}

/** A variable is either set or unset. */
function* setsOrUnsets(spec: ContainerSpec): Generator<[field: string, description: string]> {
  for (const [index, name] of spec.unsetEnvironment.entries()) {
    if (!Object.hasOwn(spec.environment, name)) continue;
    yield [`unset_environment[${index}]`, `environment sets ${JSON.stringify(name)}`];
  }
}

/** Only an image can be pulled. */
function* pullsImage(
  request: CreateContainerRequest | RunContainerRequest,
): Generator<[field: string, description: string]> {
  const source = request.spec?.source.case;
  if (source === undefined || source === "image") return;
  const description = "applies to a container that is made from an image alone";
  if (request.pullPolicy !== PullPolicy.UNSPECIFIED) yield ["pull_policy", description];
  if (request.registryCredentials !== undefined) yield ["registry_credentials", description];
}

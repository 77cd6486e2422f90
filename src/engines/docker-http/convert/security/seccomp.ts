/** Converts profiles of allowed system calls between messages and the JSON that Docker documents. */
import { fromJsonString, toJson } from "@bufbuild/protobuf";
import type { SeccompProfile } from "../../../../../gen/nap/v1/container_spec_pb.js";
import { SeccompProfileSchema } from "../../../../../gen/nap/v1/container_spec_pb.js";

/*
 * The contract's own JSON is Docker's but for numbers of 64 bits, which it has as strings and Docker
 * as numbers that JavaScript's would round; so their text is changed. The quotes of a name inside a
 * string are escaped, hence neither pattern matches there.
 */
const asString = /"(value|valueTwo)":"(\d+)"/g;
const asNumber = /"(value|valueTwo)"\s*:\s*(\d+)/g;

/** Returns a profile in dockerd's request format. */
export function seccompToDocker(profile: SeccompProfile): string {
  return JSON.stringify(toJson(SeccompProfileSchema, profile)).replace(asString, '"$1":$2');
}

/**
 * Returns a profile as it was set by any client; undefined if it is invalid, which dockerd checks only at
 * start.
 */
export function seccompFromDocker(text: string): SeccompProfile | undefined {
  const options = { ignoreUnknownFields: true };
  try {
    return fromJsonString(SeccompProfileSchema, text.replace(asNumber, '"$1":"$2"'), options);
  } catch {
    return undefined;
  }
}

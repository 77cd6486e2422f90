/** Values of requests that the contract calls secret, and texts without them. */
import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { RuleTable } from "./validation/rules.js";
import { walk } from "./walk.js";

/** Returns the secrets in a request: the texts of fields with `(rules).secret`. */
export function secretsIn(table: RuleTable, desc: DescMessage, request: Message): string[] {
  const found: string[] = [];
  for (const { message } of walk(desc, request)) {
    for (const field of table.of(message.desc).secrets) {
      const value: unknown = message.get(field);
      if (typeof value === "string" && value !== "") found.push(value);
    }
  }
  return found;
}

/** Returns the text with "[secret]" in place of each secret. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  // A secret can be a part of another.
  const longestFirst = secrets.toSorted((a, b) => b.length - a.length);
  return longestFirst.reduce((rest, secret) => rest.replaceAll(secret, () => "[secret]"), text);
}

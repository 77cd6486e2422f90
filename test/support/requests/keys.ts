/** The keys by which tables speak of fields: paths of types, worked out from the descriptors alone. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";

/** Every key of every field below these messages, with its field. */
export function fieldKeys(messages: Iterable<DescMessage>): Map<string, DescField> {
  const found = new Map<string, DescField>();
  const visit = (
    desc: DescMessage,
    keys: readonly string[],
    above: readonly DescMessage[],
  ): void => {
    for (const field of desc.fields) {
      const own = [...keys, desc.typeName].map((key) => `${key}.${field.name}`);
      for (const key of own) found.set(key, field);
      if (field.message === undefined || above.includes(field.message)) continue;
      visit(field.message, own, [...above, desc]);
    }
  };
  for (const desc of messages) visit(desc, [], []);
  return found;
}

/** The keys of the field at a path of a request, such as `spec.mounts[0].bind`. */
export function keysOfPath(request: DescMessage, path: string): string[] {
  const names = path.replace(/\[(\d+|"([^"\\]|\\.)*")\]/g, "").split(".");
  let desc: DescMessage | undefined = request;
  let keys: string[] = [];
  for (const name of names) {
    if (desc === undefined) throw new Error(`${request.typeName} has no ${path}`);
    keys = [...keys, desc.typeName].map((key) => `${key}.${name}`);
    const field: DescField | undefined = desc.fields.find((each) => each.name === name);
    if (field === undefined) throw new Error(`${desc.typeName} has no ${name}`);
    desc = field.message;
  }
  return keys;
}

/** The largest requests that can be made for each list and map of the contract, as bytes. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { privilegedFields } from "../../../src/auth/privileged-fields.js";
import { fieldError, firstOf, NapError } from "../../../src/contract/errors.js";
import { services } from "../../../src/core/engines.js";
import type { UnsupportedFeatures } from "../../../src/contract/unsupported.js";
import { fieldName, unsupportedFields } from "../../../src/contract/unsupported.js";
import { decode } from "../../../src/rpc/grpc-adapter.js";
import { maxMessageBytes, requestLimits } from "../../../src/contract/validation/request-limits.js";
import type { RuleTable } from "../../../src/contract/validation/rules.js";
import { contractViolations } from "../../../src/contract/validation/validate.js";
import { scanWire, wireBounds } from "../../../src/contract/validation/wire-bounds.js";

/** A request for one field or one method. */
export interface LargeRequest {
  readonly claim: string;
  readonly desc: DescMessage;
  readonly bytes: Uint8Array;
}

/**
 * What is wrong with a request, as the server finds it before the engine is asked; undefined where nothing
 * is.
 */
export function judge(
  table: RuleTable,
  support: UnsupportedFeatures,
  { desc, bytes }: LargeRequest,
): NapError | undefined {
  try {
    const request = decode(table, desc, bytes);
    const found = firstOf(contractViolations(table, desc, request));
    found.push(...firstOf(unsupportedFields(support, desc, request)));
    firstOf(privilegedFields(desc, request));
    return found.length > 0 ? fieldError(found) : undefined;
  } catch (error) {
    if (error instanceof NapError) return error;
    throw error;
  }
}

/** The fields from a request down to one, which is the last. */
interface Place {
  readonly desc: DescMessage;
  readonly path: readonly DescField[];
}

const methods = services.flatMap(({ desc }) => desc.methods);
const inputs = [...new Set(methods.map(({ input }) => input))];
const limits = new Map(methods.map((method) => [method.input, requestLimits(method)] as const));

/** Every list and map that a request can have, at the first place where one stands. */
function collections(): Map<string, Place> {
  const found = new Map<string, Place>();
  const visit = (desc: DescMessage, message: DescMessage, path: readonly DescField[]): void => {
    for (const field of message.fields) {
      const here = [...path, field];
      const many = field.fieldKind === "list" || field.fieldKind === "map";
      if (many && !found.has(fieldName(field))) found.set(fieldName(field), { desc, path: here });
      if (field.message !== undefined) visit(desc, field.message, here);
    }
  };
  for (const input of inputs) visit(input, input, []);
  return found;
}

/** What must be refused or ends early: 4 MiB of what costs the fewest bytes. */
export function* hostileRequests(): Generator<LargeRequest> {
  for (const [name, { desc, path }] of collections()) {
    const field = path.at(-1)!;
    const inside = (content: Uint8Array): Uint8Array => wrapped(path.slice(0, -1), content);
    const request = (what: string, bytes: Uint8Array): LargeRequest => ({
      claim: `${name}: ${what}`,
      desc,
      bytes,
    });
    yield request("empty entries", inside(repeated(entry(field, new Uint8Array()))));
    if (isPackable(field)) {
      yield request(
        "bad values, packed",
        inside(entry(field, new Uint8Array(maxMessageBytes).fill(99))),
      );
      yield request("bad values, not packed", inside(repeated(varint(field.number, 99))));
    } else {
      yield request("unknown fields in one entry", inside(entry(field, repeated(varint(999, 1)))));
    }
    if (field.fieldKind === "map") {
      yield request("one key many times", inside(entry(field, repeated(text(1, "k")))));
      yield request("different keys", inside(numbered(field, 3 * wireBounds.messages)));
    }
    for (const [at, parent] of path.slice(0, -1).entries()) {
      const below = wrapped(path.slice(at + 1, -1), entry(field, new Uint8Array()));
      const above = wrapped(path.slice(0, at), repeated(delimited(parent.number, below)));
      yield request(`in ${parent.name} many times`, above);
    }
  }
  for (const desc of inputs) {
    const engine = desc.fields[0];
    const request = (what: string, bytes: Uint8Array): LargeRequest => ({
      claim: `${desc.typeName}: ${what}`,
      desc,
      bytes,
    });
    yield request("unknown fields", repeated(varint(999, 1)));
    yield request("an unknown group of fields", group(repeated(varint(7, 1))));
    yield request("unknown groups", repeated(group(new Uint8Array())));
    yield request("unknown groups in each other", Uint8Array.from(nestedGroups()));
    if (engine?.fieldKind === "scalar") {
      yield request("one value many times", repeated(text(engine.number, "")));
    }
  }
}

/**
 * What the bounds allow: as many entries as may be, of few bytes, and of all the bytes together that a
 * message of the method may have.
 */
export function* largestTaken(table: RuleTable): Generator<LargeRequest> {
  for (const [name, { desc, path }] of collections()) {
    const field = path.at(-1)!;
    const { maxItems } = table.of(field.parent).byNumber.get(field.number)!;
    const { first: most } = limits.get(desc)!;
    for (const bytesEach of [1, 30, most]) {
      // Entries with messages in them pass the bound on all messages before their own.
      for (let count = maxItems; count > 0; count = Math.floor(count * 0.9)) {
        const each = Math.min(bytesEach, Math.floor(most / count) - 200);
        if (each < 1 && count > 1) continue;
        const bytes = wrapped(path.slice(0, -1), filled(field, count, Math.max(1, each)));
        if (bytes.length > most || scanWire(table, desc, bytes).violations.length > 0) continue;
        yield { claim: `${name}: ${count} entries of ${each} bytes`, desc, bytes };
        break;
      }
    }
    const one = wrapped(path.slice(0, -1), filled(field, 1, most - 300));
    if (one.length <= most) yield { claim: `${name}: one long entry`, desc, bytes: one };
  }
  for (const desc of inputs) {
    const left = { messages: wireBounds.messages, values: wireBounds.values };
    const bytes = fullest(table, desc, left);
    if (bytes.length > limits.get(desc)!.first) continue;
    yield { claim: `${desc.typeName}: all fields full`, desc, bytes };
  }
}

/** A message with all its fields, lists and maps as full as the rest of the bounds allows. */
function fullest(
  table: RuleTable,
  desc: DescMessage,
  left: { messages: number; values: number },
  nested = false,
): Uint8Array {
  const writer = new BinaryWriter();
  for (const { desc: field, maxItems } of table.of(desc).fields) {
    const many = field.fieldKind === "list" || field.fieldKind === "map";
    // An entry of a list has short lists of its own, so that there are many such entries.
    const count = many ? (nested ? Math.min(maxItems, 2) : maxItems) : 1;
    for (let n = 0; n < count; n++) {
      const costly = field.message !== undefined || field.fieldKind === "map";
      if (left.values < 100 || (costly && left.messages < 100)) break;
      if (costly) left.messages--;
      else left.values--;
      if (field.fieldKind === "map" && field.message !== undefined) {
        left.values -= 1;
        const inner = fullest(table, field.message, left, true);
        const entry = Buffer.concat([text(1, `k${n}`), delimited(2, inner)]);
        writer.raw(delimited(field.number, entry));
      } else if (field.fieldKind === "map") {
        left.values -= 2;
        writer.raw(delimited(field.number, mapEntry(field, n, 1)));
      } else if (field.message !== undefined) {
        const inner = fullest(table, field.message, left, nested || many);
        writer.raw(delimited(field.number, inner));
      } else {
        writer.raw(scalar(field, 1));
      }
    }
  }
  return writer.finish();
}

/** So many entries of a field, of so many bytes each. */
function filled(field: DescField, count: number, bytes: number): Uint8Array {
  if (field.fieldKind === "map") return numbered(field, count, bytes);
  const one =
    field.message === undefined
      ? scalar(field, bytes)
      : delimited(field.number, message(field.message, bytes, 0));
  return Buffer.concat(Array.from({ length: count }, () => one));
}

/** A message with all its fields, and lists and maps with one entry. */
function message(desc: DescMessage, bytes: number, depth: number): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of desc.fields) {
    const share = Math.max(1, Math.floor(bytes / desc.fields.length) - 20);
    if (field.fieldKind === "map") writer.raw(delimited(field.number, mapEntry(field, 0, share)));
    else if (field.message === undefined) writer.raw(scalar(field, share));
    else if (depth < 4)
      writer.raw(delimited(field.number, message(field.message, share, depth + 1)));
  }
  return writer.finish();
}

function mapEntry(field: DescField & { fieldKind: "map" }, n: number, bytes: number): Uint8Array {
  const value =
    field.message === undefined
      ? text(2, "v".repeat(Math.max(1, bytes - 20)))
      : delimited(2, message(field.message, bytes - 20, 0));
  return Buffer.concat([text(1, `k${n}`), value]);
}

/** A single entry of so many bytes has them in its key. */
const longKey = 100_000;

function numbered(field: DescField, count: number, bytes = 1): Uint8Array {
  const map = field as DescField & { fieldKind: "map" };
  const entries: Uint8Array[] = [];
  for (let n = 0; n < count; n++) {
    const key =
      count === 1 && bytes > longKey ? text(1, "k".repeat(bytes - 20)) : mapEntry(map, n, bytes);
    entries.push(delimited(field.number, key));
  }
  return Buffer.concat(entries);
}

/** A value that most rules allow. */
function scalar(field: DescField, bytes: number): Uint8Array {
  switch (field.scalar) {
    case ScalarType.STRING:
      return text(field.number, "a".repeat(bytes));
    case ScalarType.BYTES:
      return delimited(field.number, new Uint8Array(bytes));
    case ScalarType.DOUBLE:
      return new BinaryWriter().tag(field.number, WireType.Bit64).double(1).finish();
    default:
      return varint(field.number, 1);
  }
}

function isPackable(field: DescField): boolean {
  const { scalar: type } = field;
  return (
    field.fieldKind === "list" &&
    field.message === undefined &&
    type !== ScalarType.STRING &&
    type !== ScalarType.BYTES
  );
}

function entry(field: DescField, content: Uint8Array): Uint8Array {
  return delimited(field.number, content);
}

function wrapped(path: readonly DescField[], content: Uint8Array): Uint8Array {
  return path.reduceRight((inner, field) => {
    const outer = field.fieldKind === "map" ? delimited(2, inner) : inner;
    return delimited(field.number, outer);
  }, content);
}

/** The bytes again and again, up to nearly 4 MiB. */
function repeated(bytes: Uint8Array): Uint8Array {
  const count = Math.floor((maxMessageBytes - 200) / bytes.length);
  return new Uint8Array(Buffer.alloc(count * bytes.length, bytes));
}

function delimited(number: number, content: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(content).finish();
}

function text(number: number, value: string): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).string(value).finish();
}

function varint(number: number, value: number): Uint8Array {
  return new BinaryWriter().tag(number, WireType.Varint).uint32(value).finish();
}

function group(content: Uint8Array): Uint8Array {
  const tag = (type: WireType): Uint8Array => new BinaryWriter().tag(999, type).finish();
  return Buffer.concat([tag(WireType.StartGroup), content, tag(WireType.EndGroup)]);
}

function nestedGroups(): Uint8Array {
  return new Uint8Array(maxMessageBytes).fill(0x0b + 8 * 10);
}

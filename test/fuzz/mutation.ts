/** Makes requests that are wrong in every way that protobuf allows, from descriptors and a seed. */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { openField } from "../../src/contract/open.js";

/** A source of random numbers that a seed repeats: xorshift of 32 bits. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  /** A whole number from 0 to below `limit`. */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % limit;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

/** Texts that break what takes apart paths, patterns, references, JSON or headers. */
const texts = [
  "",
  "a",
  "docker",
  "no-such-thing",
  "..",
  "../../etc/passwd",
  "/",
  "/../..",
  "%2e%2e%2f",
  "a/b:c@sha256:0",
  "a b\r\nX: y",
  "\0",
  "\u{1F4A9}",
  "\u{202E}",
  "-1",
  "{}",
  '{"a":',
  "$(reboot)",
  "*",
  "(((((((((((((((((((((((",
  "nap.v1.owner",
  "x".repeat(5000),
];

const numbers = [
  0n,
  1n,
  -1n,
  2n ** 31n - 1n,
  2n ** 31n,
  -(2n ** 31n),
  2n ** 53n,
  2n ** 63n - 1n,
  -(2n ** 63n),
];

/**
 * The bytes of a random message of this type, of which some is wrong more often than not. The first of
 * a stream is mostly its open, and the others are mostly not.
 */
export function randomRequest(desc: DescMessage, random: Random, isFirst: boolean): Uint8Array {
  const open = isFirst === random.chance(90) ? openField(desc) : undefined;
  const bytes = message(desc, random, 0, open ? [open] : desc.fields);
  return random.chance(50) ? bytes : mutated(bytes, random);
}

function message(
  desc: DescMessage,
  random: Random,
  depth: number,
  fields: readonly DescField[] = desc.fields,
): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of fields) {
    // A request names its engine mostly, so that more than the first check is reached.
    const named = field.name === "engine" || fields.length === 1;
    const percent = named ? 90 : depth === 0 ? 60 : depth > 6 ? 5 : 25;
    if (random.chance(percent)) write(writer, field, random, depth);
  }
  if (random.chance(3)) unknown(writer, random);
  return writer.finish();
}

function write(writer: BinaryWriter, field: DescField, random: Random, depth: number): void {
  const many = field.fieldKind === "list" || field.fieldKind === "map";
  const times = many ? (random.chance(2) ? 500 : random.below(4)) : random.chance(3) ? 2 : 1;
  for (let n = 0; n < times; n++) {
    if (random.chance(1)) wrongType(writer, field.number, random);
    else if (field.name === "engine")
      writer
        .tag(field.number, WireType.LengthDelimited)
        .string(random.chance(90) ? "docker" : random.pick(texts));
    else element(writer, field, random, depth);
  }
}

function element(writer: BinaryWriter, field: DescField, random: Random, depth: number): void {
  if (field.fieldKind === "map") {
    const entry = new BinaryWriter();
    scalar(entry, 1, field.mapKey, random);
    if (field.mapKind === "message")
      entry.tag(2, WireType.LengthDelimited).bytes(message(field.message, random, depth + 1));
    else scalar(entry, 2, field.mapKind === "scalar" ? field.scalar : ScalarType.INT32, random);
    writer.tag(field.number, WireType.LengthDelimited).bytes(entry.finish());
  } else if (field.message !== undefined) {
    // What an open has, any other request has itself.
    const below = field.name === "open" ? depth : depth + 1;
    writer.tag(field.number, WireType.LengthDelimited).bytes(message(field.message, random, below));
  } else if (field.enum !== undefined) {
    const known = field.enum.values.map(({ number }) => number);
    writer
      .tag(field.number, WireType.Varint)
      .int32(
        random.chance(85) ? random.pick(known) : Number(BigInt.asIntN(32, random.pick(numbers))),
      );
  } else {
    scalar(writer, field.number, field.scalar ?? ScalarType.STRING, random);
  }
}

function scalar(writer: BinaryWriter, number: number, type: ScalarType, random: Random): void {
  switch (type) {
    case ScalarType.STRING:
      writer.tag(number, WireType.LengthDelimited);
      if (random.chance(3)) writer.bytes(Uint8Array.of(0xc3, 0x28, 0xff));
      else writer.string(random.pick(texts));
      break;
    case ScalarType.BYTES:
      writer.tag(number, WireType.LengthDelimited).bytes(random.bytes(random.below(200)));
      break;
    case ScalarType.DOUBLE:
      writer.tag(number, WireType.Bit64).double(random.pick([0, -1, NaN, Infinity, 1e308]));
      break;
    case ScalarType.BOOL:
      writer.tag(number, WireType.Varint).bool(random.chance(50));
      break;
    default:
      writer.tag(number, WireType.Varint).int64(random.pick(numbers));
  }
}

/** A field with a wire type that is not its own. */
function wrongType(writer: BinaryWriter, number: number, random: Random): void {
  const value = random.below(1000);
  switch (random.below(4)) {
    case 0:
      writer.tag(number, WireType.Varint).uint32(value);
      break;
    case 1:
      writer.tag(number, WireType.Bit32).fixed32(value);
      break;
    case 2:
      writer.tag(number, WireType.Bit64).fixed64(value);
      break;
    default:
      writer.tag(number, WireType.LengthDelimited).bytes(random.bytes(value % 50));
  }
}

/** Returns a field that is not in the contract: a scalar, bytes, or groups many levels deep. */
function unknown(writer: BinaryWriter, random: Random): void {
  const number = 1000 + random.below(100_000);
  if (random.chance(20)) {
    const depth = random.pick([2, 50, 20_000]);
    for (let n = 0; n < depth; n++) writer.tag(number, WireType.StartGroup);
    if (random.chance(80)) for (let n = 0; n < depth; n++) writer.tag(number, WireType.EndGroup);
  } else {
    wrongType(writer, number, random);
  }
}

/** Bytes cut off, changed, doubled or inserted. */
function mutated(bytes: Uint8Array, random: Random): Uint8Array {
  const at = random.below(bytes.length + 1);
  const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (random.below(5)) {
    case 0:
      return head;
    case 1:
      return Uint8Array.from(bytes, (byte) => (random.chance(2) ? random.below(256) : byte));
    case 2:
      return Buffer.concat([bytes, bytes]);
    case 3:
      return Buffer.concat([head, random.bytes(random.below(40)), tail]);
    default:
      return tail;
  }
}

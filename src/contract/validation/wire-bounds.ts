/**
 * Checks the size of a request on its encoded bytes, before it is decoded: a hostile message makes the
 * decoder allocate an object for every two bytes, and validation costs even more.
 *
 * The scan walks the wire format without decoding values and ends when a bound on the whole request is
 * exceeded, so no request costs more than a walk over its bytes. A field with a wrong wire type is
 * malformed; the decoder would misread it, and both must read the same fields.
 */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import type { FieldViolation } from "../errors.js";
import { maxReportedViolations } from "../errors.js";
import { fieldPath } from "../walk.js";
import type { RuledField, RuleTable } from "./rules.js";
import { tooManyItems } from "./rules.js";

/** The bounds of a whole request. The decoder also rejects deeper nesting. */
export const wireBounds = {
  /** The number of occurrences of messages and map entries. */
  messages: 8192,
  /** The number of occurrences of other values, including those in packed lists. */
  values: 100_000,
  /** The number of fields that the contract does not have. */
  unknown: maxReportedViolations,
  depth: 100,
} as const;

/** The wire types of protobuf's binary format. */
const wireTypes = {
  varint: 0,
  bit64: 1,
  delimited: 2,
  startGroup: 3,
  endGroup: 4,
  bit32: 5,
} as const;

/** The result of a scan. */
export interface Scan {
  /** Empty if the request may be decoded. */
  readonly violations: readonly FieldViolation[];
  /** The numbers of messages and values up to the end of the scan. */
  readonly messages: number;
  readonly values: number;
  readonly unknown: number;
}

/** Scans the bytes of a message. Throws a RangeError where they are malformed. */
export function scanWire(table: RuleTable, desc: DescMessage, bytes: Uint8Array): Scan {
  const scanner = new Scanner(table, bytes);
  try {
    scanner.message(desc, bytes.length, 1);
  } catch (error) {
    if (!(error instanceof Full)) throw error;
  }
  const { violations, messages, values, unknown } = scanner;
  return { violations, messages, values, unknown };
}

/** Thrown to end a scan when a bound of the whole request is exceeded or enough violations are found. */
class Full extends Error {}

/** A field on the path to the current position, and the index for an element of a list. */
interface Step {
  readonly field: DescField;
  readonly index: number;
}

class Scanner {
  readonly violations: FieldViolation[] = [];
  messages = 0;
  values = 0;
  unknown = 0;
  readonly #table: RuleTable;
  readonly #bytes: Uint8Array;
  readonly #steps: Step[] = [];
  readonly #unknownFields: FieldViolation[] = [];
  #at = 0;

  constructor(table: RuleTable, bytes: Uint8Array) {
    this.#table = table;
    this.#bytes = bytes;
  }

  /** Scans the fields of one message up to `end`. */
  message(desc: DescMessage, end: number, depth: number): void {
    if (depth > wireBounds.depth) throw malformed("messages are too deep");
    const { byNumber, collections } = this.#table.of(desc);
    // The number of elements of each list or map so far.
    const counts: number[] = [];
    for (let n = 0; n < collections; n++) counts.push(0);
    while (this.#at < end) {
      const tag = this.#tag();
      const field = byNumber.get(tag >>> 3);
      if (field === undefined) this.#unknownField(desc.typeName, tag, end, depth);
      else this.#field(field, tag & 7, end, depth, counts);
    }
    if (this.#at !== end) throw malformed("a field ends behind its message");
  }

  #field(field: RuledField, wire: number, end: number, depth: number, counts: number[]): void {
    const { desc, collection } = field;
    const before = counts[collection] ?? 0;
    let added = 1;
    if (desc.fieldKind === "map") {
      this.#enter(desc, -1);
      this.#mapEntry(desc, this.#lengthDelimited(wire, end), depth);
      this.#steps.pop();
    } else if (desc.message !== undefined) {
      this.#enter(desc, desc.fieldKind === "list" ? before : -1);
      this.message(desc.message, this.#lengthDelimited(wire, end), depth + 1);
      this.#steps.pop();
    } else {
      const own = ownWireType(desc.scalar);
      if (desc.fieldKind === "list" && wire === wireTypes.delimited && wire !== own) {
        added = this.#packed(own, this.#lengthDelimited(wire, end));
      } else if (wire !== own) {
        throw malformed(`${desc.name} has the wire type ${wire}`);
      } else {
        this.#skip(wire, end);
      }
      // An empty packed list costs the decoder as much as one value.
      this.#count(Math.max(1, added), desc.name);
    }
    if (collection < 0) return;
    counts[collection] = before + added;
    if (before <= field.maxItems && before + added > field.maxItems) {
      this.#refuse(this.#path(desc.name), tooManyItems(field));
    }
  }

  #enter(field: DescField, index: number): void {
    if (++this.messages > wireBounds.messages) {
      this.#full(
        field.name,
        `is past the ${wireBounds.messages} messages and map entries of a request`,
      );
    }
    this.#steps.push({ field, index });
  }

  /** Counts values of a field, by default of the innermost step. */
  #count(values: number, field?: string): void {
    this.values += values;
    if (this.values <= wireBounds.values) return;
    this.#full(field, `is past the ${wireBounds.values} values of a request`);
  }

  #mapEntry(desc: DescField & { fieldKind: "map" }, end: number, depth: number): void {
    while (this.#at < end) {
      const tag = this.#tag();
      const number = tag >>> 3;
      const wire = tag & 7;
      if (number === 2 && desc.message !== undefined) {
        this.message(desc.message, this.#lengthDelimited(wire, end), depth + 1);
      } else if (number === 1 || number === 2) {
        const own = ownWireType(number === 1 ? desc.mapKey : desc.scalar);
        if (wire !== own) throw malformed(`an entry of ${desc.name} has the wire type ${wire}`);
        this.#skip(wire, end);
        this.#count(1);
      } else {
        // The decoder does not skip it, but would read its value as fields.
        this.#unknownField(`an entry of ${desc.name}`, tag, end, depth);
        this.violations.push(...this.#unknownFields.splice(0));
        throw new Full();
      }
    }
    if (this.#at !== end) throw malformed("a field ends behind its message");
  }

  /** Returns the number of values in a packed list. */
  #packed(own: number, end: number): number {
    const bytes = this.#bytes;
    let count = 0;
    if (own === wireTypes.varint) {
      if (end > this.#at && bytes[end - 1]! >= 0x80) throw malformed("a packed list is cut off");
      const most = wireBounds.values - this.values;
      // The last byte of a varint is below 128.
      for (let at = this.#at; at < end && count <= most; at++) if (bytes[at]! < 0x80) count++;
    } else {
      count = (end - this.#at) / (own === wireTypes.bit64 ? 8 : 4);
      if (!Number.isInteger(count)) throw malformed("a packed list is cut off");
    }
    this.#at = end;
    return count;
  }

  #unknownField(parent: string, tag: number, end: number, depth: number): void {
    const number = tag >>> 3;
    this.#unknownFields.push({
      field: this.#path(String(number)),
      description: unknownFieldText(number, parent),
      reason: "FIELD_UNKNOWN",
    });
    if (++this.unknown > wireBounds.unknown) {
      this.violations.push(...this.#unknownFields);
      throw new Full();
    }
    this.#skipUnknown(tag, end, depth);
  }

  #skipUnknown(tag: number, end: number, depth: number): void {
    const wire = tag & 7;
    if (wire !== wireTypes.startGroup) {
      this.#skip(wire, end);
      return;
    }
    if (depth >= wireBounds.depth) throw malformed("groups are too deep");
    for (;;) {
      if (this.#at >= end) throw malformed("a group has no end");
      const inner = this.#tag();
      if ((inner & 7) === wireTypes.endGroup) {
        if (inner >>> 3 !== tag >>> 3) throw malformed("a group has another's end");
        return;
      }
      this.#count(1, String(tag >>> 3));
      this.#skipUnknown(inner, end, depth + 1);
    }
  }

  #skip(wire: number, end: number): void {
    if (wire === wireTypes.varint) {
      const last = this.#at + 10;
      while (this.#byte() >= 0x80) {
        if (this.#at === last) throw malformed("a number is too long");
      }
    } else if (wire === wireTypes.delimited) {
      this.#at = this.#lengthDelimited(wire, end);
    } else if (wire === wireTypes.bit64) {
      this.#at += 8;
    } else if (wire === wireTypes.bit32) {
      this.#at += 4;
    } else {
      throw malformed(`a field has the wire type ${wire}`);
    }
    if (this.#at > end) throw malformed("a field ends behind its message");
  }

  /** Reads a length prefix and returns the end of its value. */
  #lengthDelimited(wire: number, end: number): number {
    if (wire !== wireTypes.delimited) throw malformed(`a field has the wire type ${wire}`);
    const length = this.#uint32();
    if (length > end - this.#at) throw malformed("a field ends behind its message");
    return this.#at + length;
  }

  #tag(): number {
    const tag = this.#uint32();
    if (tag >>> 3 === 0) throw malformed("a field has the number 0");
    return tag;
  }

  #uint32(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    for (let shift = 7; shift < 35; shift += 7) {
      const byte = this.#byte();
      if (shift === 28 && byte > 0x0f) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw malformed("a length or a field's number is too long");
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw malformed("the message is cut off");
    return byte;
  }

  /**
   * Returns the path to the current position, or to a field of its message. Map entries appear without
   * keys.
   */
  #path(field?: string): string {
    let path = "";
    for (const step of this.#steps) {
      path = fieldPath(path, step.field.name);
      if (step.index >= 0) path += `[${step.index}]`;
    }
    return field === undefined ? path : fieldPath(path, field);
  }

  #refuse(field: string, description: string): void {
    this.violations.push({ field, description, reason: "FIELD_INVALID" });
    if (this.violations.length > maxReportedViolations) throw new Full();
  }

  #full(field: string | undefined, description: string): never {
    if (this.violations.length === 0) this.#refuse(this.#path(field), description);
    throw new Full();
  }
}

/** Returns the description of the violation for a field that the contract does not have. */
export function unknownFieldText(number: number, parent: string): string {
  return `this server knows no field number ${number} in ${parent}`;
}

/** Returns the wire type of a scalar, by default that of an enum. */
function ownWireType(scalar: ScalarType | undefined): number {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return wireTypes.delimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return wireTypes.bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return wireTypes.bit32;
    default:
      return wireTypes.varint;
  }
}

function malformed(why: string): RangeError {
  return new RangeError(why);
}

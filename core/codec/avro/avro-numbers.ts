import avsc, { type Type } from "avsc";
import type { ColumnText } from "../text/column-text.ts";
import { DECIMAL_BYTES, Decimal } from "./avro-decimal.ts";
import type { AvroInput } from "./avro-input.ts";
import { sizeOf } from "./avro-types.ts";
import type { InJson, ValueReader } from "./avro-values.ts";

const { types } = avsc;

/** The limits of a field's numbers: decimal places and bounds. */
export interface NumberLimits {
  readonly scale: number;
  readonly min: number;
  readonly max: number;
}

export function numberReader(type: Type, limits: NumberLimits, inJson: InJson): ValueReader | null {
  const source = numberSource(type, limits.scale);
  return source === null ? null : new Numeral(source, limits, inJson);
}

/** Reads a number as units of 10^-scale. NaN for anything else. */
type NumberSource = (input: AvroInput) => number;

function numberSource(type: Type, scale: number): NumberSource | null {
  const unit = 10 ** scale;
  if (type instanceof types.IntType || type instanceof types.LongType)
    return scale === 0 ? (input) => input.long() : (input) => input.long() * unit;
  if (type instanceof types.FloatType || type instanceof types.DoubleType) {
    const size = type instanceof types.FloatType ? 4 : 8;
    return (input) => {
      const value = input.float(size);
      const units = Math.round(value * unit);
      return units / unit === value ? units : Number.NaN;
    };
  }
  if (!(type instanceof Decimal) || type.scale > scale) return null;
  const size = sizeOf(type);
  const factor = 10 ** (scale - type.scale);
  return (input) => bigEndian(input, size ?? input.length()) * factor;
}

/**
 * Reads a number in two's complement. NaN when its number of bytes is 0 or too large, or the record does not have them.
 */
function bigEndian(input: AvroInput, size: number): number {
  if (size < 1 || size > DECIMAL_BYTES || size > input.end - input.at) return Number.NaN;
  let value = ((input.bytes[input.at++] as number) << 24) >> 24;
  for (let left = size - 1; left > 0; left--) {
    value = value * 256 + (input.bytes[input.at++] as number);
    if (!Number.isSafeInteger(value)) return Number.NaN;
  }
  return value;
}

class Numeral implements ValueReader {
  readonly #source: NumberSource;
  readonly #min: number;
  readonly #max: number;
  /** The decimal places that are written, with a point before them. */
  readonly #places: number;

  constructor(source: NumberSource, { scale, min, max }: NumberLimits, inJson: InJson) {
    const unit = 10 ** scale;
    this.#source = source;
    this.#min = Math.round(min * unit);
    this.#max = Math.round(max * unit);
    this.#places = inJson ? scale : 0;
  }

  read(input: AvroInput, out: ColumnText): boolean {
    const value = this.#source(input);
    if (!(value >= this.#min && value <= this.#max)) return false;
    if (this.#places === 0) out.writeWhole(value);
    else out.writeScaled(value, this.#places);
    return true;
  }
}

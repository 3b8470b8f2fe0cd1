import avsc, { type Schema, type Type } from "avsc";

/** The most bytes of a decimal. JSON readers tell far fewer digits apart. */
export const DECIMAL_BYTES = 16;

/** A decimal as its exact text. */
export class Decimal extends avsc.types.LogicalType {
  readonly scale: number;

  constructor(schema: Schema, options: unknown) {
    super(schema, options);
    this.scale = Number((schema as { readonly scale?: number }).scale ?? 0);
  }

  override _fromValue(bytes: Uint8Array | undefined): string {
    if (bytes === undefined || bytes.length === 0 || bytes.length > DECIMAL_BYTES)
      throw new Error("a decimal of no or too many digits");
    // A JavaScript number holds six bytes exactly, and nearly every decimal fits.
    if (bytes.length <= 6) return decimalText((bytes as Buffer).readIntBE(0, bytes.length), this.scale);
    let unscaled = 0n;
    for (const byte of bytes) unscaled = (unscaled << 8n) | BigInt(byte);
    return decimalText(BigInt.asIntN(bytes.length * 8, unscaled), this.scale);
  }

  override _toValue(value: unknown): Buffer {
    const text = typeof value === "number" ? value.toFixed(this.scale) : String(value);
    const [whole = "", part = ""] = text.split(".");
    return unscaledBytes(BigInt(whole + part.padEnd(this.scale, "0")));
  }

  /** Returns a resolver only for a decimal of the same scale: with another scale the same digits mean another value. */
  override _resolve(type: Type): ((value: unknown) => unknown) | undefined {
    return type instanceof Decimal && type.scale === this.scale ? (value) => value : undefined;
  }
}

function decimalText(unscaled: bigint | number, scale: number): string {
  const negative = unscaled < 0;
  const digits = (negative ? -unscaled : unscaled).toString().padStart(scale + 1, "0");
  const point = digits.length - scale;
  return `${negative ? "-" : ""}${digits.slice(0, point)}${scale === 0 ? "" : `.${digits.slice(point)}`}`;
}

/** Returns a number as the fewest big-endian bytes of two's complement. */
export function unscaledBytes(unscaled: bigint): Buffer {
  let length = 1;
  while (BigInt.asIntN(length * 8, unscaled) !== unscaled) length++;
  const hexadecimal = BigInt.asUintN(length * 8, unscaled).toString(16);
  return Buffer.from(hexadecimal.padStart(length * 2, "0"), "hex");
}

import avsc, { type Schema, type Type } from "avsc";

/** Digits of a decimal that JSON readers could still tell apart are far fewer. */
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
    // Six bytes are what a number holds exactly, and nearly every decimal fits.
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

  /** Only a decimal of the same scale says the same. */
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

/** The fewest big-endian bytes of two's complement. */
export function unscaledBytes(unscaled: bigint): Buffer {
  let length = 1;
  while (BigInt.asIntN(length * 8, unscaled) !== unscaled) length++;
  const hexadecimal = BigInt.asUintN(length * 8, unscaled).toString(16);
  return Buffer.from(hexadecimal.padStart(length * 2, "0"), "hex");
}

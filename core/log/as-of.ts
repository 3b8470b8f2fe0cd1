import { z } from "zod";
import { type Cut, cutFromJson, cutToJson } from "./position.ts";

/**
 * The position that an answer belongs to: exactly the log below `applied`, of which the part below `cut` came from
 * `version`.
 */
export interface AsOf {
  readonly generation: string;
  readonly version: number;
  readonly cut: Cut;
  readonly applied: Cut;
}

const cut = z.record(z.string().regex(/^\d+$/), z.string().regex(/^\d{1,19}$/));
const Token = z.strictObject({ g: z.string(), v: z.int().min(0), c: cut, a: cut });

/** An opaque token for clients: they hand it back, they do not read it. */
export function encodeAsOf({ generation, version, cut, applied }: AsOf): string {
  const body = { g: generation, v: version, c: cutToJson(cut), a: cutToJson(applied) };
  return Buffer.from(JSON.stringify(body)).toString("base64url");
}

/** The position in a token, or null when it is not one of ours. */
export function decodeAsOf(token: string): AsOf | null {
  try {
    const { g, v, c, a } = Token.parse(JSON.parse(Buffer.from(token, "base64url").toString()));
    return { generation: g, version: v, cut: cutFromJson(c), applied: cutFromJson(a) };
  } catch {
    return null;
  }
}

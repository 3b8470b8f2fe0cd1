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

/** The positions of an answer about several tables, by the name that each has in the question. */
export type JoinedAsOf = ReadonlyMap<string, AsOf>;

const JoinedToken = z.strictObject({ j: z.record(z.string(), Token) });

/** An opaque token for clients: they hand it back, they do not read it. */
export function encodeAsOf(asOf: AsOf): string {
  return encoded(tokenOf(asOf));
}

/** The position in a token, or null when it is not one of ours. */
export function decodeAsOf(token: string): AsOf | null {
  const body = Token.safeParse(decoded(token));
  return body.success ? asOfFrom(body.data) : null;
}

/** `encodeAsOf` of an answer about several tables. */
export function encodeJoinedAsOf(asOf: JoinedAsOf): string {
  return encoded({ j: Object.fromEntries([...asOf].map(([name, one]) => [name, tokenOf(one)])) });
}

/** The positions in a token of an answer about several tables, or null when it is none. */
export function decodeJoinedAsOf(token: string): JoinedAsOf | null {
  const body = JoinedToken.safeParse(decoded(token));
  if (!body.success) return null;
  return new Map(Object.entries(body.data.j).map(([name, one]) => [name, asOfFrom(one)]));
}

function tokenOf({ generation, version, cut, applied }: AsOf): z.infer<typeof Token> {
  return { g: generation, v: version, c: cutToJson(cut), a: cutToJson(applied) };
}

function asOfFrom({ g, v, c, a }: z.infer<typeof Token>): AsOf {
  return { generation: g, version: v, cut: cutFromJson(c), applied: cutFromJson(a) };
}

function encoded(body: unknown): string {
  return Buffer.from(JSON.stringify(body)).toString("base64url");
}

/** The JSON in a token; undefined for text that is none. */
function decoded(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token, "base64url").toString());
  } catch {
    return undefined;
  }
}

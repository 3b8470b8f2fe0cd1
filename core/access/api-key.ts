import { createHash, timingSafeEqual } from "node:crypto";
import { z } from "zod";

/**
 * API keys: their stored form, and the text that a client sends. Pure: callers pass the clock and randomness. Only the
 * SHA-256 of a key's secret is stored. The secret has 256 random bits, so nobody can find it by trying values against
 * the hash. A slow hash (argon2, bcrypt) protects passwords that people choose; here it would only make each request
 * slow.
 */

/**
 * The actions that a key may allow:
 *
 * - `read`: answers and proofs of views, and the definitions of streams and views
 * - `records`: single records: records of streams, rows of tables, histories of keys, alerts
 */
export const API_ACTIONS = ["read", "records"] as const;
export type ApiAction = (typeof API_ACTIONS)[number];

/** The numbers of random bytes in a key's id and in its secret. */
export const ID_BYTES = 6;
export const SECRET_BYTES = 32;

const ID = /^[0-9a-f]{12}$/;
const TOKEN = /^tideline_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$/;

/** A stored key. Times are epoch milliseconds. */
export const ApiKey = z.strictObject({
  id: z.string().regex(ID),
  name: z.string().regex(NAME),
  /** SHA-256 of the secret, in hex. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  actions: z.array(z.enum(API_ACTIONS)).min(1),
  /** The only streams and views that the key is for. Null: all of them. */
  only: z.strictObject({ streams: z.array(z.string()), views: z.array(z.string()) }).nullable(),
  createdAtMs: z.int(),
  expiresAtMs: z.int().nullable(),
  revokedAtMs: z.int().nullable(),
});
export type ApiKey = z.infer<typeof ApiKey>;

/** Whether a text may be a key's name: a letter or digit, then up to 59 letters, digits, dots, dashes, underscores. */
export function isKeyName(text: string): boolean {
  return NAME.test(text);
}

/** Returns the text that a client sends: `tideline_<id>_<secret>`. */
export function tokenOf(id: string, secret: Uint8Array): string {
  return `tideline_${id}_${Buffer.from(secret).toString("base64url")}`;
}

/** Returns the id and secret in a token, or null for any other text. */
export function parseToken(text: string): { readonly id: string; readonly secret: string } | null {
  const [, id, secret] = TOKEN.exec(text) ?? [];
  return id === undefined || secret === undefined ? null : { id, secret };
}

/** Returns the stored hash of a token's secret. */
export function hashOf(secret: string): string {
  return sha256(secret).toString("hex");
}

/** Whether a key has this secret. Takes the same time wherever the two differ. */
export function hasSecret({ hash }: Pick<ApiKey, "hash">, secret: string): boolean {
  return timingSafeEqual(Buffer.from(hash, "hex"), sha256(secret));
}

export type KeyStatus = "active" | "expired" | "revoked";

/** Returns whether a key is active, expired or revoked at this time. */
export function keyStatus({ revokedAtMs, expiresAtMs }: ApiKey, nowMs: number): KeyStatus {
  if (revokedAtMs !== null) return "revoked";
  return expiresAtMs !== null && expiresAtMs <= nowMs ? "expired" : "active";
}

function sha256(text: string): Buffer {
  return createHash("sha256").update(text, "utf8").digest();
}

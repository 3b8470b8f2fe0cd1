import { createHash } from "node:crypto";
import type { Table, View } from "../definition/view.ts";

/**
 * The separator between the values of a key of several parts. Contracts allow control characters in texts, but a
 * collision only puts two keys into one shard.
 */
const BETWEEN = 31;

/** SQL: the shard of an event's key, from 0. The same as `shardOf`. */
export function shardSql({ by }: View, { shards }: Table): string {
  const parts = Object.values(by).map(({ text }) => `CAST((${text}) AS VARCHAR)`);
  const key = parts.length === 1 ? String(parts[0]) : `concat_ws(chr(${BETWEEN}), ${parts.join(", ")})`;
  return `(('0x' || substr(md5(${key}), 1, 4))::INTEGER % ${shards})::BIGINT`;
}

/**
 * Returns the shard of a key: the first 16 bits of its text's MD5, modulo the number of shards. It is MD5, so that any
 * later version and both layers agree on it. (DuckDB's numbers of all 64 bits take six times as long.)
 */
export function shardOf(key: readonly string[], { shards }: Table): number {
  const text = key.join(String.fromCharCode(BETWEEN));
  return createHash("md5").update(text).digest().readUInt16BE(0) % shards;
}

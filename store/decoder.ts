import { isUtf8 } from "node:buffer";
import { BIGINT, DuckDBDataChunk, INTEGER } from "@duckdb/node-api";
import { decodeOne, decodeSql, duplicatesSql, type Reject } from "../core/decode.ts";
import { at, type Cut } from "../core/position.ts";
import { quoteName } from "../core/sql.ts";
import type { Stream } from "../core/stream.ts";
import { type Duck, rowsOf } from "./duck.ts";
import { eventColumns } from "./events.ts";
import type { FetchedPartition } from "./log.ts";

/** Separates the records of a batch in one text (RFC 7464): valid JSON has no raw control character. */
const SEPARATOR = 0x1e;
const CHUNK_ROWS = 2_048;

/** A record that was refused, with its original bytes: what goes to the dead letters. */
export interface Rejected {
  readonly partition: number;
  readonly offset: bigint;
  readonly reject: Reject;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

/**
 * The one decoder of both layers: fetched records -> the temporary table `events` of a DuckDB connection (columns of store/events.ts), with
 * duplicates marked and rejects in place. The connection's table `seen` remembers ids for the dedup window.
 *
 * Nearly all records are decoded by SQL over the whole batch; the few that it does not recognise go one by one through the contract.
 */
export class Decoder {
  readonly #duck: Duck;
  readonly #stream: Stream;
  #seenRows = 0;

  private constructor(duck: Duck, stream: Stream) {
    this.#duck = duck;
    this.#stream = stream;
  }

  static async open(duck: Duck, stream: Stream): Promise<Decoder> {
    await duck.run("CREATE OR REPLACE TEMP TABLE meta (_row INTEGER, _partition INTEGER, _offset BIGINT, _timestamp BIGINT)");
    await duck.run("CREATE OR REPLACE TEMP TABLE rejects (_row INTEGER, reject VARCHAR)");
    await duck.run("CREATE OR REPLACE TEMP TABLE seen (_partition INTEGER, _offset BIGINT, _id VARCHAR)");
    return new Decoder(duck, stream);
  }

  /** Decodes a batch into `events` and remembers its ids. Answers the rejects. */
  async decode(batch: readonly FetchedPartition[]): Promise<Rejected[]> {
    const records = flatten(batch);
    if (records.offsets.length === 0) {
      await this.#duck.run(`CREATE OR REPLACE TEMP TABLE events (${eventColumns(this.#stream)})`);
      return [];
    }
    await this.#duck.run("TRUNCATE meta");
    await appendMeta(this.#duck, batch);
    const { text, refused } = joinValues(records.values);
    const source = "(SELECT * FROM meta POSITIONAL JOIN (SELECT unnest(string_split($1, chr(30))) AS _value))";
    await this.#duck.run(`CREATE OR REPLACE TEMP TABLE decoded AS ${decodeSql(this.#stream, source)}`, [text]);
    const rejected = await this.#decodeRest(records, refused);
    await this.#duck.run(
      `CREATE OR REPLACE TEMP TABLE events AS SELECT _partition, _offset, _timestamp, ${this.#columns()}, _id, false AS _duplicate, NULL::VARCHAR AS _reject FROM decoded`,
    );
    if (rejected.length > 0) {
      await this.#duck.run("INSERT INTO events BY NAME SELECT _partition, _offset, _timestamp, false AS _duplicate, reject AS _reject FROM meta JOIN rejects USING (_row)");
    }
    await this.#markDuplicates();
    await this.#remember();
    return rejected;
  }

  /** Forgets the ids of `partitions`: before their positions are moved, so that no record is compared with its own future. */
  async forget(partitions: readonly number[]): Promise<void> {
    if (partitions.length > 0) await this.#duck.run(`DELETE FROM seen WHERE _partition IN (${partitions.join(", ")})`);
  }

  /** Remembers ids from a relation with (_partition, _offset, _id): the warm-up from the archive. */
  async remember(relation: string): Promise<void> {
    await this.#duck.run(`INSERT INTO seen SELECT _partition, _offset, _id FROM ${relation} WHERE _id IS NOT NULL`);
  }

  #columns(): string {
    return Object.keys(this.#stream.fields).map(quoteName).join(", ");
  }

  /** The records that SQL did not recognise: accepted ones come back as canonical text, the others are rejects. */
  async #decodeRest(records: Flat, refused: ReadonlyMap<number, Reject>): Promise<Rejected[]> {
    const rest = (await rowsOf(this.#duck, "SELECT _row FROM decoded WHERE NOT _ok ORDER BY _row")).map(([row]) => Number(row));
    if (rest.length === 0) return [];
    await this.#duck.run("DELETE FROM decoded WHERE NOT _ok");
    await this.#duck.run("TRUNCATE rejects");
    const accepted: { row: number; canonical: string }[] = [];
    const rejected: Rejected[] = [];
    const rejects = await this.#duck.createAppender("rejects");
    for (const row of rest) {
      const known = refused.get(row);
      const decoded = known === undefined ? decodeOne(this.#stream, records.values[row] ?? null) : { ok: false as const, reject: known };
      if (decoded.ok) accepted.push({ row, canonical: decoded.canonical });
      else {
        rejects.appendInteger(row);
        rejects.appendVarchar(decoded.reject);
        rejects.endRow();
        rejected.push({ partition: records.partitions[row] ?? 0, offset: records.offsets[row] ?? 0n, reject: decoded.reject, key: records.keys[row] ?? null, value: records.values[row] ?? null });
      }
    }
    rejects.closeSync();
    if (accepted.length > 0) await this.#decodeCanonical(accepted);
    return rejected;
  }

  async #decodeCanonical(accepted: readonly { row: number; canonical: string }[]): Promise<void> {
    const values = "SELECT unnest(string_split($1, chr(30))) AS _value, unnest(string_split($2, ',')::INTEGER[]) AS _row";
    const source = `(SELECT meta.*, _value FROM (${values}) JOIN meta USING (_row))`;
    const texts = accepted.map(({ canonical }) => canonical).join("\x1e");
    await this.#duck.run(`INSERT INTO decoded ${decodeSql(this.#stream, source)}`, [texts, accepted.map(({ row }) => row).join(",")]);
  }

  async #markDuplicates(): Promise<void> {
    const found = await rowsOf(this.#duck, `SELECT count(*) FROM (${duplicatesSql(this.#stream, "events", "seen")})`);
    if (Number(found[0]?.[0]) === 0) return;
    await this.#duck.run(
      `UPDATE events SET _duplicate = true FROM (${duplicatesSql(this.#stream, "events", "seen")}) d WHERE events._partition = d._partition AND events._offset = d._offset`,
    );
  }

  /** Adds the batch's ids, and now and then drops those that have left every window. */
  async #remember(): Promise<void> {
    await this.remember("events");
    this.#seenRows += 1;
    if (this.#seenRows % 64 !== 0) return;
    await this.#duck.run(
      `CREATE OR REPLACE TEMP TABLE seen AS SELECT s.* FROM seen s JOIN (SELECT _partition, max(_offset) AS top FROM seen GROUP BY ALL) t USING (_partition) WHERE _offset >= top - ${this.#stream.dedupWindow}`,
    );
  }
}

interface Flat {
  readonly partitions: readonly number[];
  readonly offsets: readonly bigint[];
  readonly keys: readonly (Buffer | null)[];
  readonly values: readonly (Buffer | null)[];
}

function flatten(batch: readonly FetchedPartition[]): Flat {
  return {
    partitions: batch.flatMap(({ partition, offsets }) => new Array<number>(offsets.length).fill(partition)),
    offsets: batch.flatMap(({ offsets }) => offsets),
    keys: batch.flatMap(({ keys }) => keys),
    values: batch.flatMap(({ values }) => values),
  };
}

async function appendMeta(duck: Duck, batch: readonly FetchedPartition[]): Promise<void> {
  const appender = await duck.createAppender("meta");
  let row = 0;
  for (const { partition, offsets, timestampsMs } of batch) {
    for (let start = 0; start < offsets.length; start += CHUNK_ROWS) {
      const slice = offsets.slice(start, start + CHUNK_ROWS);
      const first = row;
      const chunk = DuckDBDataChunk.create([INTEGER, INTEGER, BIGINT, BIGINT], slice.length);
      chunk.setColumnValues(0, slice.map((_, index) => first + index));
      chunk.setColumnValues(1, slice.map(() => partition));
      chunk.setColumnValues(2, slice);
      chunk.setColumnValues(3, timestampsMs.slice(start, start + CHUNK_ROWS).map(BigInt));
      appender.appendDataChunk(chunk);
      row += slice.length;
    }
  }
  appender.closeSync();
}

/**
 * All values in one text, so that they cross into DuckDB in one piece. A value that cannot be part of it (absent, not UTF-8, or with a
 * raw separator, which no JSON has) leaves its place empty, and the reason is already known.
 */
function joinValues(values: readonly (Buffer | null)[]): { text: string; refused: Map<number, Reject> } {
  const refused = new Map<number, Reject>();
  const joined = Buffer.allocUnsafe(values.reduce((sum, value) => sum + (value?.length ?? 0) + 1, 0));
  let end = 0;
  values.forEach((value, row) => {
    const reject = value === null || value.length === 0 ? "empty" : value.includes(SEPARATOR) ? "not-json" : null;
    if (reject !== null) refused.set(row, reject);
    else if (value !== null) end += value.copy(joined, end);
    joined[end++] = SEPARATOR;
  });
  const body = joined.subarray(0, Math.max(0, end - 1));
  if (isUtf8(body)) return { text: body.toString("utf8"), refused };
  const clean = values.map((value, row) => {
    if (value === null || refused.has(row) || isUtf8(value)) return refused.has(row) ? null : value;
    refused.set(row, "not-utf8");
    return null;
  });
  return { text: clean.map((value) => value?.toString("utf8") ?? "").join("\x1e"), refused };
}

/** Appends keys and original bytes to `originals` (_partition, _offset, _key, _value): what the archive keeps beside the events. */
export async function appendOriginals(duck: Duck, batch: readonly FetchedPartition[]): Promise<void> {
  await duck.run("CREATE OR REPLACE TEMP TABLE originals (_partition INTEGER, _offset BIGINT, _key BLOB, _value BLOB)");
  const appender = await duck.createAppender("originals");
  for (const { partition, offsets, keys, values } of batch) {
    offsets.forEach((offset, index) => {
      const key = keys[index] ?? null;
      const value = values[index] ?? null;
      appender.appendInteger(partition);
      appender.appendBigInt(offset);
      if (key === null) appender.appendNull();
      else appender.appendBlob(key);
      if (value === null) appender.appendNull();
      else appender.appendBlob(value);
      appender.endRow();
    });
  }
  appender.closeSync();
}

/** Restricts a relation of events to what lies at or after `from`; the relation itself when that is everything. */
export function eventsFrom(relation: string, from: Cut, batch: readonly FetchedPartition[]): string {
  const ahead = batch.filter(({ partition, from: start }) => at(from, partition) > start);
  if (ahead.length === 0) return relation;
  const skip = ahead.map(({ partition }) => `(_partition = ${partition} AND _offset < ${at(from, partition)})`);
  return `(SELECT * FROM ${relation} WHERE NOT (${skip.join(" OR ")}))`;
}

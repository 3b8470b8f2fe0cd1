import { DuckDBBlobValue, type DuckDBValue } from "@duckdb/node-api";
import {
  anyRepeatSql,
  canonicalSql,
  decodeOne,
  duplicatesSql,
  type Reject,
  type SchemaLookup,
  scannedSql,
  scannedTexts,
} from "../../core/codec/decode/decode.ts";
import { RecordScanner } from "../../core/codec/decode/scan.ts";
import { quoteName } from "../../core/contract/sql.ts";
import type { Stream, Version } from "../../core/contract/stream.ts";
import { position } from "../../core/log/position.ts";
import type { Duck } from "../duckdb/duck.ts";
import { KeptStatements, RefilledTable } from "../duckdb/kept-statements.ts";
import type { SchemaSource } from "../registry/registry-schemas.ts";
import { AvroBodies, BatchRows, type RecordBatch } from "./batch-rows.ts";
import { FewRows, sourceSql } from "./batch-source.ts";
import { DecodedBatch, type Rejected, sizeOf } from "./decoded-batch.ts";
import { eventNames } from "./events.ts";
import { SeenFilter } from "./seen-filter.ts";

/** A batch that was scanned before its turn. */
export interface ScannedBatch {
  readonly rows: BatchRows;
  /** Returns the schemas of its Avro records. */
  readonly schemas: SchemaLookup;
  readonly scanner: RecordScanner;
}

/**
 * The one decoder of both layers. It turns fetched records into rows of a DuckDB connection (columns of
 * store/decode/events.ts), with duplicates marked and rejects in place. The connection's table `seen` has the ids of
 * the dedup window. Nearly all records are scanned into the texts of columns, which SQL splits and casts. The few that
 * are not recognised are decoded one by one by the contract.
 */
export class Decoder {
  readonly duck: Duck;
  /** The statements of its connection, for callers that read batches. */
  readonly statements: KeptStatements;
  readonly #decoded: RefilledTable;
  /** The rows of small batches. Null where plans are not kept. */
  readonly #few: FewRows | null;
  /** Tables for the rows of the batch that are decoded once more, by version. */
  readonly #again: ReadonlyMap<Version, RefilledTable>;
  readonly #filter: SeenFilter;
  readonly #stream: Stream;
  readonly #schemas: SchemaSource;
  /** The batch whose rows its connection holds. */
  #batch: DecodedBatch | null = null;
  /** The scanners for the newest version that no scanned batch uses. */
  readonly #free: RecordScanner[] = [];
  /** The scanners for the older versions that are tried, by version. */
  readonly #older: ReadonlyMap<Version, RecordScanner>;
  /** The number of ids remembered since old ones were last forgotten. */
  #remembered = 0;
  #forgetAt = FORGET_AT_LEAST;

  private constructor(duck: Duck, statements: KeptStatements, stream: Stream, schemas: SchemaSource) {
    this.duck = duck;
    this.statements = statements;
    this.#decoded = new RefilledTable(duck, this.statements, "decoded");
    this.#few = statements.keepsPlans ? FewRows.open(duck, newestOf(stream)) : null;
    this.#again = new Map(
      stream.tried.map((version) => [version, new RefilledTable(duck, this.statements, againOf(version))]),
    );
    this.#filter = new SeenFilter(statements);
    this.#stream = stream;
    this.#schemas = schemas;
    const [, ...older] = stream.tried;
    this.#older = new Map(
      older.map((version, index) => [version, new RecordScanner(version, stream.tried.slice(0, index + 1))]),
    );
  }

  static async open(duck: Duck, stream: Stream, schemas: SchemaSource): Promise<Decoder> {
    await duck.run(
      `CREATE OR REPLACE TEMP TABLE decoded AS ${decodedSql(canonicalSql(stream, newestOf(stream), NOTHING))}`,
    );
    await duck.run(`CREATE OR REPLACE TEMP VIEW ${EVENTS} AS SELECT ${eventNames(stream)} FROM decoded`);
    await duck.run("CREATE OR REPLACE TEMP TABLE rejects (_row INTEGER, reject VARCHAR)");
    await duck.run(
      "CREATE OR REPLACE TEMP TABLE seen (_partition INTEGER, _offset BIGINT, _id VARCHAR, _hash UBIGINT)",
    );
    return new Decoder(duck, await KeptStatements.open(duck), stream, schemas);
  }

  /**
   * Does the part of decoding that needs no database. It may run while the batch before is still worked on. Throws
   * NOT_READY when a schema is needed and its registry does not answer; no record is refused then.
   */
  async scan(batch: readonly RecordBatch[]): Promise<ScannedBatch> {
    const rows = new BatchRows(batch);
    const schemas = await this.#schemas.lookup(rows.schemaIds(), this.#stream);
    const newest = newestOf(this.#stream);
    const scanner = this.#free.pop() ?? new RecordScanner(newest);
    await rows.scanAll(scanner, new AvroBodies(newest, schemas));
    return { rows, schemas, scanner };
  }

  /**
   * Decodes a batch and remembers its ids. This ends the batch before, because both have their rows in the same place.
   * Throws as `scan`.
   */
  async decode(batch: readonly RecordBatch[], scanned?: ScannedBatch): Promise<DecodedBatch> {
    const { rows, schemas, scanner } = scanned ?? (await this.scan(batch));
    this.#batch?.release();
    const rejected = await this.#fill(batch, { rows, schemas, scanner });
    const { statements } = this;
    this.#batch = new DecodedBatch({ relation: EVENTS, statements, records: rows.length, rejected });
    return this.#batch;
  }

  /** Replaces the batch before. Returns the rejects. */
  async #fill(batch: readonly RecordBatch[], { rows, schemas, scanner }: ScannedBatch): Promise<Rejected[]> {
    if (rows.length === 0) {
      this.#free.push(scanner);
      await this.#decoded.clear();
      return [];
    }
    const newest = newestOf(this.#stream);
    const allOk = scanner.failed === 0;
    const { source, blobs } = this.#source(batch, scanner, allOk);
    await this.#decoded.fill(decodedSql(scannedSql(this.#stream, newest, source, allOk)), rows.length, blobs);
    const rejected = allOk ? [] : await this.#decodeRest(rows, schemas);
    this.#free.push(scanner);
    if (await this.#mayRepeat(rows.length)) await this.#markDuplicates();
    await this.statements.run(rememberSql("decoded"));
    await this.#forgetOld(rows.length);
    return rejected;
  }

  /** Returns a scanned batch as SQL of a relation, with the values of its parameters. */
  #source(batch: readonly RecordBatch[], scanner: RecordScanner, allOk: boolean) {
    if (this.#few !== null && sizeOf(scanner.rows) === "small")
      return { source: this.#few.hand(batch, scanner.texts(false)), blobs: [] };
    return { source: sourceSql(batch, scannedTexts(newestOf(this.#stream), allOk)), blobs: blobsOf(scanner, allOk) };
  }

  /** Closes the decoder. Call it before the connection is closed. */
  close(): void {
    this.#few?.close();
  }

  /**
   * Forgets the ids of `partitions`. Call it before their positions move, so that no record is compared with later
   * ones.
   */
  async forget(partitions: readonly number[]): Promise<void> {
    if (partitions.length > 0) await this.duck.run(`DELETE FROM seen WHERE _partition IN (${partitions.join(", ")})`);
  }

  /** Remembers ids from a relation with (_partition, _offset, _id), which comes from the archive. */
  async remember(relation: string): Promise<void> {
    this.#filter.drop();
    await this.duck.run(rememberSql(relation));
  }

  /**
   * Decodes the records that were not recognised as events of the newest version. Records recognised as older versions
   * are upcast. Records that the contract accepts are decoded again from canonical text. The others are rejects.
   */
  async #decodeRest(rows: BatchRows, schemas: SchemaLookup): Promise<Rejected[]> {
    for (const [version, scanner] of this.#older) {
      const left = (await this.#unrecognised()).map(([row]) => Number(row));
      if (left.length === 0) return [];
      rows.scanSome(scanner, new AvroBodies(version, schemas), left);
      const texts = `SELECT ${scannedTexts(version, false)}, unnest([${left.join(", ")}]) AS _row`;
      const sql = decodedSql(scannedSql(this.#stream, version, again(texts), false));
      await this.#again.get(version)?.fill(sql, left.length, blobsOf(scanner, false));
      await this.#take(version, "_ok");
    }
    const rest = await this.#unrecognised();
    if (rest.length === 0) return [];
    const decoded = rest.map(([row]) => {
      const [value, place] = [rows.value(Number(row)), rows.place(Number(row))];
      return decodeOne(this.#stream, value, schemas, place);
    });
    const misfits = await this.#decodeCanonical(
      decoded.flatMap((one, index) => (one.ok ? [{ row: Number(rest[index]?.[0]), ...one }] : [])),
    );
    const rejected: (Rejected & { row: number })[] = [];
    for (const [index, [at, partition, offset]] of rest.entries()) {
      const row = Number(at);
      const one = decoded[index];
      const reject = one?.ok === false ? one.reject : misfits.get(row);
      if (reject === undefined) continue;
      const place = { partition: Number(partition), offset: position(Number(offset)) };
      rejected.push({ row, ...place, reject, key: rows.key(row), value: rows.value(row) });
    }
    if (rejected.length > 0) await this.#markRejects(rejected);
    return rejected.map(({ row: _, ...one }) => one);
  }

  #unrecognised(): Promise<DuckDBValue[][]> {
    return this.statements.rows("SELECT _row, _partition, _offset FROM decoded WHERE NOT _ok ORDER BY _row");
  }

  async #markRejects(rejected: readonly { readonly row: number; readonly reject: Reject }[]): Promise<void> {
    await this.statements.run("TRUNCATE rejects");
    const rejects = await this.duck.createAppender("rejects");
    for (const { row, reject } of rejected) {
      rejects.appendInteger(row);
      rejects.appendVarchar(reject);
      rejects.endRow();
    }
    rejects.closeSync();
    const nothing = [...Object.keys(this.#stream.fields).map(quoteName), "_id", "_hash", "_version"];
    await this.statements.run(
      `UPDATE decoded SET ${nothing.map((column) => `${column} = NULL`).join(", ")}, ` +
        "_reject = reject FROM rejects WHERE decoded._row = rejects._row",
    );
  }

  /**
   * Decodes the records that the contract accepted. Returns, by row, the columns for which an upcast breaks the newest
   * contract.
   */
  async #decodeCanonical(
    accepted: readonly { row: number; version: number; canonical: string }[],
  ): Promise<Map<number, Reject>> {
    const misfits = new Map<number, Reject>();
    for (const version of this.#stream.tried) {
      const chosen = accepted.filter((one) => one.version === version.version);
      if (chosen.length === 0) continue;
      const text = Buffer.from(chosen.map(({ canonical }) => canonical).join("\x1e"));
      const isNewest = version === this.#stream.tried[0];
      const list = chosen.map(({ row }) => row).join(", ");
      const texts = `SELECT unnest(string_split(decode($1), chr(30))) AS _value, unnest([${list}]) AS _row`;
      const sql = decodedSql(canonicalSql(this.#stream, version, again(texts)));
      await this.#again.get(version)?.fill(sql, chosen.length, [new DuckDBBlobValue(text)]);
      await this.#take(version, isNewest ? "true" : "_misfit IS NULL");
      if (isNewest) continue;
      const asked = `SELECT _row, _misfit FROM ${againOf(version)} WHERE _misfit IS NOT NULL`;
      for (const [row, field] of await this.statements.rows(asked))
        misfits.set(Number(row), `contract: ${field}: the upcast of version ${version.version} breaks it`);
    }
    return misfits;
  }

  /**
   * Replaces rows of `decoded` by those that were decoded again as a version and for which `condition` holds. They are
   * recognised now.
   */
  async #take(version: Version, condition: string): Promise<void> {
    const again = againOf(version);
    await this.statements.run(`DELETE FROM decoded WHERE _row IN (SELECT _row FROM ${again} WHERE ${condition})`);
    await this.statements.run(
      "INSERT INTO decoded BY NAME SELECT _row, _hash, true AS _ok, " +
        `${eventNames(this.#stream)} FROM ${again} WHERE ${condition}`,
    );
  }

  /** Whether the batch may have duplicates. Call it once for each batch, before the ids are remembered. */
  async #mayRepeat(rows: number): Promise<boolean> {
    if (!this.statements.keepsPlans || sizeOf(rows) === "large") {
      this.#filter.drop();
      return true;
    }
    const ids = await this.statements.rows("SELECT _hash FROM decoded WHERE _id IS NOT NULL");
    return this.#filter.mayRepeat(ids.map(([hash]) => hash as bigint));
  }

  async #markDuplicates(): Promise<void> {
    const [repeats] = await this.statements.rows(anyRepeatSql("decoded", "seen"));
    if (repeats?.[0] !== true) return;
    const duplicates = duplicatesSql(this.#stream, "decoded", "seen");
    await this.statements.run(
      `UPDATE decoded SET _duplicate = true FROM (${duplicates}) d WHERE ` +
        "decoded._partition = d._partition AND decoded._offset = d._offset",
    );
  }

  /**
   * Forgets the ids that have left every window. It does so when as many new ids have come as remained the last time.
   */
  async #forgetOld(more: number): Promise<void> {
    this.#remembered += more;
    if (this.#remembered < this.#forgetAt) return;
    const tops = "SELECT _partition, max(_offset) AS top FROM seen GROUP BY ALL";
    await this.statements.makeTable(
      "seen",
      `SELECT s.* FROM seen s JOIN (${tops}) USING (_partition) WHERE _offset >= top - ${this.#stream.dedupWindow}`,
    );
    const [[left] = []] = await this.statements.rows("SELECT count(*) FROM seen");
    this.#remembered = 0;
    this.#forgetAt = Math.max(FORGET_AT_LEAST, Number(left));
  }
}

/** The relation of the batch's events in its connection. */
const EVENTS = "events";

/** The least number of new ids before old ones are forgotten. For fewer, copying the remaining ids costs too much. */
const FORGET_AT_LEAST = 100_000;

/** A relation of no records, with the columns of one. */
const NOTHING = "(SELECT 0::BIGINT AS _row, 0 AS _partition, 0::BIGINT AS _offset, '' AS _value WHERE false)";

/** SQL: decoded rows, with the columns that the next steps fill in. */
function decodedSql(rows: string): string {
  return `SELECT *, hash(_partition, _id) AS _hash, false AS _duplicate, NULL::VARCHAR AS _reject FROM (${rows})`;
}

function rememberSql(relation: string): string {
  return (
    "INSERT INTO seen SELECT _partition, _offset, _id, hash(_partition, " +
    `_id) FROM ${relation} WHERE _id IS NOT NULL`
  );
}

function againOf({ version }: Version): string {
  return `again_${version}`;
}

/** SQL: some rows of the batch, by their numbers in `texts`, with their positions. */
function again(texts: string): string {
  return `(SELECT v.*, _partition, _offset FROM (${texts}) v JOIN decoded USING (_row))`;
}

function newestOf({ tried }: Stream): Version {
  const [newest] = tried;
  if (newest === undefined) throw new RangeError("a stream without a version");
  return newest;
}

function blobsOf(scanner: RecordScanner, allOk: boolean): DuckDBBlobValue[] {
  return scanner.texts(allOk).map((text) => new DuckDBBlobValue(text));
}

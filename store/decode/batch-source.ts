import { BIGINT, INTEGER, VARCHAR } from "@duckdb/node-api";
import { scannedColumn } from "../../core/codec/decode/decode.ts";
import { ROW_SEPARATOR } from "../../core/codec/text/column-text.ts";
import type { Version } from "../../core/contract/stream.ts";
import type { Duck } from "../duckdb/duck.ts";
import { HandedRows } from "../duckdb/handed-rows.ts";
import type { RecordBatch } from "./batch-rows.ts";

/**
 * SQL: the batch as a relation. Its columns unfold in the order of its rows. The position of each row comes from
 * literals, because offsets come in long runs.
 */
export function sourceSql(batch: readonly RecordBatch[], columns: string): string {
  const runs = batch.flatMap(({ partition, records }) => records.runs().map((run) => ({ partition, ...run })));
  const values = `(SELECT *, row_number() OVER () - 1 AS _row FROM (SELECT ${columns}))`;
  return runs.length <= FEW_RUNS ? withFewRuns(values, runs) : withManyRuns(values, runs);
}

interface Run {
  readonly partition: number;
  readonly from: bigint;
  readonly to: bigint;
}

/** With at most this many runs, CASE costs less than looking positions up in lists. */
const FEW_RUNS = 64;

function withFewRuns(values: string, runs: readonly Run[]): string {
  let end = 0n;
  const cases = runs.map(({ partition, from, to }) => {
    const shift = from - end;
    end += to - from;
    return { when: `WHEN _row < ${end}`, partition: `THEN ${partition}`, offset: `THEN _row + ${shift}` };
  });
  const choose = (what: "partition" | "offset") =>
    `CASE ${cases.map((one) => `${one.when} ${one[what]}`).join(" ")} END`;
  return `(SELECT *, ${choose("partition")} AS _partition, ${choose("offset")}::BIGINT AS _offset FROM ${values})`;
}

function withManyRuns(values: string, runs: readonly Run[]): string {
  const partitions = runs.map(({ partition, from, to }) => `list_resize([${partition}], ${to - from}, ${partition})`);
  const offsets = runs.map(({ from, to }) => `range(${from}, ${to})`);
  const places =
    `SELECT unnest(flatten([${partitions.join(", ")}])) AS _partition, ` +
    `unnest(flatten([${offsets.join(", ")}])) AS _offset`;
  return `(SELECT * FROM ${values} JOIN (SELECT *, row_number() OVER () - 1 AS _row FROM (${places})) USING (_row))`;
}

/**
 * The scanned rows of a small batch as a relation whose SQL text stays the same. It has the contents of `sourceSql`,
 * which is for batches of any size. For a large batch, splitting the texts of columns in SQL costs less than handing
 * rows over one by one.
 */
export class FewRows {
  readonly #rows: HandedRows;

  private constructor(rows: HandedRows) {
    this.#rows = rows;
  }

  /** Opens it for batches that are scanned as events of this version, and for statements of this connection. */
  static open(duck: Duck, { fields }: Version): FewRows {
    const places = [
      { name: "_row", type: BIGINT },
      { name: "_partition", type: INTEGER },
      { name: "_offset", type: BIGINT },
    ];
    const texts = [...Object.keys(fields), "ok"].map((_, index) => ({ name: scannedColumn(index), type: VARCHAR }));
    return new FewRows(HandedRows.open(duck, [...places, ...texts]));
  }

  /**
   * Hands a batch over with the texts of all its columns. The last column says which rows were recognised. Returns the
   * relation.
   */
  hand(batch: readonly RecordBatch[], texts: readonly Uint8Array[]): string {
    const places = batch.flatMap(({ partition, records }) => records.offsets.map((offset) => ({ partition, offset })));
    this.#rows.hand([
      places.map((_, row) => BigInt(row)),
      places.map(({ partition }) => partition),
      places.map(({ offset }) => offset),
      ...texts.map(rowsOfText),
    ]);
    return this.#rows.relation;
  }

  close(): void {
    this.#rows.close();
  }
}

const SEPARATOR = String.fromCharCode(ROW_SEPARATOR);

function rowsOfText({ buffer, byteOffset, byteLength }: Uint8Array): string[] {
  return Buffer.from(buffer, byteOffset, byteLength).toString("utf8").split(SEPARATOR);
}

import type { WirePath } from "../../core/contract/record/wire-path.ts";
import type { TableValue } from "../../store/duckdb/parquet-rows.ts";
import type { Bytes } from "../read/bytes.ts";
import type { Delimiter } from "../read/csv.ts";
import type { Encoding } from "../read/encoding.ts";
import type { ColumnNames } from "./columns.ts";
import type { Refusal } from "./refusal.ts";

/** One row of a source, not looked at yet: a table's values, a JSON text, or why it is neither. */
export type SourceRow = {
  /** Row of the data, from 1; a header is none. */
  readonly row: number;
  /** Line of a text file, from 1. */
  readonly line?: number;
} & ({ readonly cells: readonly TableValue[] } | { readonly json: Buffer } | RefusedRow);

/** A row that was refused when it was read. */
interface RefusedRow {
  readonly refused: Refusal;
  /** Nothing behind it can be read. */
  readonly isEnd?: boolean;
}

export interface Source {
  /** The value of `done` at the end; null if unknown. */
  readonly total: number | null;
  /** What is counted: "rows" or "bytes". */
  readonly unit: string;
  /** Rows may come at any time, as from a pipe that a program writes to. */
  readonly isLive: boolean;
  /** The fields that a table's values are of, in their order; none for JSON. */
  readonly columns: readonly string[];
  readonly pieces: AsyncIterable<{ readonly rows: readonly SourceRow[]; readonly done: number }>;
  close(): void;
}

/** What a file can be. */
export const FILE_KINDS = ["csv", "tsv", "json", "ndjson", "parquet"] as const;
export type FileKind = (typeof FILE_KINDS)[number];

/** What is said about a file; the rest its name and its first bytes show. */
export interface FileOptions extends ColumnNames {
  readonly kind: FileKind | null;
  readonly delimiter: Delimiter | null;
  readonly encoding: Encoding | null;
  /** Where a JSON document has the list of its rows; null: it is a row itself, or a list of rows. */
  readonly rows: WirePath | null;
}

export const FILE_DEFAULTS: FileOptions = {
  ...{ kind: null, delimiter: null, encoding: null, rows: null },
  ...{ header: true, names: null, renamed: new Map(), rowId: null },
};

/**
 * Rows that are handed on together: few, so that what they are made of is gone before the garbage collector looks at
 * it.
 */
export const PIECE_ROWS = 64;

/** The next of a splitter, unless a piece has enough. */
export function next<T>(splitter: { next(): T | null }, piece: readonly unknown[]): T | null {
  return piece.length < PIECE_ROWS ? splitter.next() : null;
}

/** What `take` gives until it has nothing more; at least one piece, which says how far reading is. */
export function* inPieces(take: () => SourceRow[], bytes: Bytes) {
  for (let rows = take(); ; rows = take()) {
    yield { rows, done: bytes.done };
    if (rows.length < PIECE_ROWS) return;
  }
}

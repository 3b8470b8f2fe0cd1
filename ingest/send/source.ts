import type { WirePath } from "../../core/contract/record/wire-path.ts";
import type { TableValue } from "../../store/duckdb/parquet-rows.ts";
import type { Bytes } from "../read/bytes.ts";
import type { Delimiter } from "../read/csv.ts";
import type { Encoding } from "../read/encoding.ts";
import type { ColumnNames } from "./columns.ts";
import type { Refusal } from "./refusal.ts";

/** One row of a source, not checked yet: a table's values, a JSON text, or the reason that it is neither. */
export type SourceRow = {
  /** The row's number in the data, from 1, not counting a header. */
  readonly row: number;
  /** The line of a text file, from 1. */
  readonly line?: number;
} & ({ readonly cells: readonly TableValue[] } | { readonly json: Buffer } | RefusedRow);

/** A row that was refused while it was read. */
interface RefusedRow {
  readonly refused: Refusal;
  /** Whether nothing after it can be read. */
  readonly isEnd?: boolean;
}

export interface Source {
  /** The value of `done` at the end; null if unknown. */
  readonly total: number | null;
  /** The unit of `done`: "rows" or "bytes". */
  readonly unit: string;
  /** Whether rows may come at any time, as from a pipe that a program writes to. */
  readonly isLive: boolean;
  /** The fields that a table's values belong to, in their order; none for JSON. */
  readonly columns: readonly string[];
  readonly pieces: AsyncIterable<{ readonly rows: readonly SourceRow[]; readonly done: number }>;
  close(): void;
}

/** The kinds of files. */
export const FILE_KINDS = ["csv", "tsv", "json", "ndjson", "parquet"] as const;
export type FileKind = (typeof FILE_KINDS)[number];

/** The options for a file. The rest is known from its name and its first bytes. */
export interface FileOptions extends ColumnNames {
  readonly kind: FileKind | null;
  readonly delimiter: Delimiter | null;
  readonly encoding: Encoding | null;
  /** The path of the list of rows in a JSON document; null: the document is a row itself, or a list of rows. */
  readonly rows: WirePath | null;
}

export const FILE_DEFAULTS: FileOptions = {
  ...{ kind: null, delimiter: null, encoding: null, rows: null },
  ...{ header: true, names: null, renamed: new Map(), rowId: null },
};

/**
 * The number of rows that are passed on together. It is small, so that the garbage collector finds their values unused.
 */
export const PIECE_ROWS = 64;

/** Returns the next piece of a splitter; null if `piece` has enough rows. */
export function next<T>(splitter: { next(): T | null }, piece: readonly unknown[]): T | null {
  return piece.length < PIECE_ROWS ? splitter.next() : null;
}

/** Yields the results of `take` until it has no more. Yields at least one piece, which has the progress. */
export function* inPieces(take: () => SourceRow[], bytes: Bytes) {
  for (let rows = take(); ; rows = take()) {
    yield { rows, done: bytes.done };
    if (rows.length < PIECE_ROWS) return;
  }
}

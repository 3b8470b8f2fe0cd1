import { TidelineError } from "../../core/errors.ts";
import { isRequired } from "../../core/fields.ts";
import type { Fields, Stream } from "../../core/stream.ts";
import { CsvSplitter, type Delimiter } from "./csv.ts";

/** Delimiters that are recognised; any other has to be named. */
const RECOGNISED: readonly Delimiter[] = [",", ";", "\t", "|"];

/** How many rows are looked at to recognise the delimiter. */
const SAMPLE_ROWS = 50;

/** How a delimited text names its columns. */
export interface ColumnNames {
  /** Whether the first row is a header. */
  readonly header: boolean;
  /** Names given for the columns, in order, in the place of the header's; an empty one leaves its column out. */
  readonly names: readonly string[] | null;
}

/**
 * The delimiter for which the first row names most of the contract's fields; without a header the one for which most rows have as many values as columns
 * were named. A comma when none fits better.
 */
export function delimiterOf(head: string, isWhole: boolean, fields: Fields, { header, names }: ColumnNames): Delimiter {
  const score = (delimiter: Delimiter): number => {
    const rows = sample(head, isWhole, delimiter);
    if (!header || names !== null) return rows.filter(({ width }) => width === (names ?? []).length).length;
    return (rows[0]?.cells ?? []).filter((name) => name !== null && Object.hasOwn(fields, name.trim())).length;
  };
  return RECOGNISED.map((delimiter) => ({ delimiter, score: score(delimiter) })).reduce((best, one) =>
    one.score > best.score ? one : best,
  ).delimiter;
}

function sample(head: string, isWhole: boolean, delimiter: Delimiter) {
  const splitter = new CsvSplitter(delimiter);
  splitter.push(head, isWhole);
  const rows = [];
  for (let row = splitter.next(); row !== null && rows.length < SAMPLE_ROWS; row = splitter.next()) rows.push(row);
  return rows;
}

const NAMES = new Map<Delimiter, string>([
  ["\t", "tab"],
  [" ", "space"],
  [",", "comma"],
  [";", "semicolon"],
]);

/** What a delimiter is called. */
export function delimiterName(delimiter: Delimiter): string {
  return NAMES.get(delimiter) ?? delimiter;
}

/** The columns of a table that are fields of the contract: their names, and where they stand. */
export interface FoundColumns {
  readonly fields: readonly string[];
  readonly places: readonly number[];
}

/**
 * Finds the contract's fields among a file's columns. Throws INPUT_MISSING when a field that the contract requires has no column, or two; `advice` says
 * what else may help.
 */
export function findColumns(file: string, columns: readonly string[], stream: Stream, advice: string): FoundColumns {
  const found = Object.keys(stream.fields).filter((name) => columns.includes(name));
  const twice = found.filter((name) => columns.indexOf(name) !== columns.lastIndexOf(name));
  if (twice.length > 0)
    throw new TidelineError(
      "INPUT_MISSING",
      `${file} has two columns ${twice.join(", ")}`,
      "Give the columns names with --columns; an empty name leaves a column out.",
    );
  const missing = Object.entries(stream.fields).flatMap(([name, field]) =>
    isRequired(field) && !found.includes(name) ? [name] : [],
  );
  if (missing.length > 0)
    throw new TidelineError(
      "INPUT_MISSING",
      `${file} has no column ${missing.join(", ")}, which the contract of ${stream.name} requires`,
      `It has: ${columns.join(", ")}. Columns are fields by name; --columns gives them other names. ${advice}`.trim(),
    );
  return { fields: found, places: found.map((name) => columns.indexOf(name)) };
}

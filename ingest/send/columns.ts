import { isRequired } from "../../core/contract/fields.ts";
import type { Fields, Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import { type CsvRow, CsvSplitter, type Delimiter } from "../read/csv.ts";
import { eventValue } from "./table-values.ts";
import { PLAIN_FORMS, type ValueForms } from "./value-forms.ts";

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
 * The delimiter for which the first row names most of the contract's fields. When names are given, the one for which most rows have as many values as
 * there are names, and of several such the one for which most values can be values of their fields. A comma when none fits better. Throws BAD_REQUEST when
 * given names fit several delimiters equally well.
 */
export function delimiterOf(head: string, isWhole: boolean, fields: Fields, { header, names }: ColumnNames): Delimiter {
  const samples = RECOGNISED.map((delimiter) => ({ delimiter, rows: sample(head, isWhole, delimiter) }));
  if (header && names === null) {
    const named = ({ rows }: Sample) => (rows[0]?.cells ?? []).filter((name) => isField(name, fields)).length;
    return best(samples, named)[0]?.delimiter ?? ",";
  }
  const columns = names ?? [];
  const fitting = best(samples, ({ rows }) => rows.filter(({ width }) => width === columns.length).length);
  const wide = fitting.filter(({ rows }) => rows.some(({ width }) => width === columns.length && width > 1));
  if (wide.length < 2) return (wide[0] ?? fitting[0])?.delimiter ?? ",";
  const [first, ...others] = best(wide, ({ rows }) => likelyValues(rows, columns, fields));
  if (first !== undefined && others.length === 0) return first.delimiter;
  const candidates = [first, ...others].flatMap((one) => (one === undefined ? [] : [delimiterName(one.delimiter)]));
  throw new TidelineError(
    "BAD_REQUEST",
    `the rows have ${columns.length} values whether they are separated by ${candidates.join(" or by ")}`,
    `Say which it is: --delimiter ${candidates[0] ?? "comma"}.`,
  );
}

interface Sample {
  readonly delimiter: Delimiter;
  readonly rows: readonly CsvRow[];
}

/** Those with the highest score, in their order. */
function best(samples: readonly Sample[], score: (sample: Sample) => number): Sample[] {
  const scores = samples.map(score);
  return samples.filter((_, index) => scores[index] === Math.max(...scores));
}

function isField(name: string | null, fields: Fields): boolean {
  return name !== null && Object.hasOwn(fields, name.trim());
}

/** How values may be written, whatever the options say: this is only about what a value could be. */
const LENIENT: readonly ValueForms[] = [
  PLAIN_FORMS,
  { ...PLAIN_FORMS, decimalComma: true, dateOrder: "dmy" },
  { ...PLAIN_FORMS, dateOrder: "mdy", timeNumbers: "yyyymmdd" },
];

/** How many values of the rows can be values of the fields that their columns are named for. */
function likelyValues(rows: readonly CsvRow[], names: readonly string[], fields: Fields): number {
  const likely = ({ cells, width }: CsvRow): number =>
    names.filter((name, index) => {
      const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
      const cell = cells[index] ?? null;
      if (field === undefined || cell === null || width !== names.length) return false;
      return LENIENT.some((forms) => {
        const read = eventValue(field, cell, forms);
        return read.ok && field.zod.safeParse(read.value).success;
      });
    }).length;
  return rows.reduce((sum, row) => sum + likely(row), 0);
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
  ["|", "pipe"],
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

import type { Field } from "../../core/contract/field.ts";
import { isRequired } from "../../core/contract/fields.ts";
import { type Fields, idFields, type Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import { type CsvRow, CsvSplitter, type Delimiter } from "../read/csv.ts";
import { eventValue } from "./table-values.ts";
import { PLAIN_FORMS, type ValueForms } from "./value-forms.ts";

/** Delimiters that are recognised. Any other has to be named. */
const RECOGNISED: readonly Delimiter[] = [",", ";", "\t", "|"];

/** How many rows are read to recognise the delimiter. */
const SAMPLE_ROWS = 50;

/** The columns' names in a delimited text. */
export interface ColumnNames {
  /** Whether the first row is a header. */
  readonly header: boolean;
  /** Names for the columns, in order, in place of the header's. An empty name leaves its column out. */
  readonly names: readonly string[] | null;
  /** By field: the column with its values, if the column has another name. */
  readonly renamed: ReadonlyMap<string, string>;
  /** A text field that is made from the row's number, because no column has it. */
  readonly rowId: RowId | null;
}

interface RowId {
  readonly field: string;
  /** Differs between files, so that their rows have different ids. */
  readonly name: string;
}

/** Returns the value that is made for a row. */
export function rowIdOf({ name }: RowId, row: number): string {
  return `${name}:${row}`;
}

/**
 * Returns the delimiter for which the first row names most of the contract's fields. If names are given: the delimiter
 * for which most rows have as many values as there are names, and among several such the one for which most values fit
 * their fields. Returns a comma if none fits better. Throws BAD_REQUEST if given names fit several delimiters equally
 * well.
 */
export function delimiterOf(
  head: string,
  isWhole: boolean,
  fields: Fields,
  { header, names, renamed }: ColumnNames,
): Delimiter {
  const samples = RECOGNISED.map((delimiter) => ({ delimiter, rows: sample(head, isWhole, delimiter) }));
  if (header && names === null) {
    const named = ({ rows }: Sample) => (rows[0]?.cells ?? []).filter((name) => isWanted(name, fields, renamed)).length;
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

/** Returns those with the highest score, in their order. */
function best(samples: readonly Sample[], score: (sample: Sample) => number): Sample[] {
  const scores = samples.map(score);
  return samples.filter((_, index) => scores[index] === Math.max(...scores));
}

function isWanted(name: string | null, fields: Fields, renamed: ReadonlyMap<string, string>): boolean {
  return name !== null && (Object.hasOwn(fields, name.trim()) || [...renamed.values()].includes(name.trim()));
}

/** Ways to write values, regardless of the options: this only finds out what a value could be. */
const LENIENT: readonly ValueForms[] = [
  PLAIN_FORMS,
  { ...PLAIN_FORMS, decimalComma: true, dateOrder: "dmy" },
  { ...PLAIN_FORMS, dateOrder: "mdy", timeNumbers: "yyyymmdd" },
];

/** Counts the values that fit the field of their column. */
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

/** Returns the name of a delimiter. */
export function delimiterName(delimiter: Delimiter): string {
  return NAMES.get(delimiter) ?? delimiter;
}

/** The columns of a table that are fields of the contract: their names and indexes. */
export interface FoundColumns {
  readonly fields: readonly string[];
  readonly places: readonly number[];
}

/** At most this many columns are named in an error. */
const NAMED_COLUMNS = 60;

/** A file's columns. */
interface Table {
  readonly file: string;
  readonly columns: readonly string[];
  /** Further advice if a column is missing. */
  readonly advice: string;
}

/**
 * Finds the contract's fields among a file's columns. Throws INPUT_MISSING if a required field has no column, or two,
 * or if an option names a column that is missing.
 */
export function findColumns(
  { file, columns, advice }: Table,
  stream: Stream,
  { renamed, rowId }: Pick<ColumnNames, "renamed" | "rowId">,
): FoundColumns {
  const columnOf = (name: string) => renamed.get(name) ?? name;
  const has =
    `It has: ${columns.slice(0, NAMED_COLUMNS).join(", ")}` +
    `${columns.length > NAMED_COLUMNS ? ` and ${columns.length - NAMED_COLUMNS} more` : ""}.`;
  if (columns[0]?.startsWith("#") && !columns.some((name) => isWanted(name, stream.fields, renamed)))
    throw new TidelineError(
      "INPUT_MISSING",
      `${file} begins with ${JSON.stringify(columns[0])}, and a table begins with its header`,
      "Nothing is a comment here: leave lines that are none of the table " +
        "out, as with grep -v '^#' FILE | tideline send …",
    );
  const hint = /\S\s+\S/.test(columns.length === 1 ? (columns[0] ?? "") : "")
    ? `${advice} If blanks separate the columns, add --delimiter whitespace.`
    : advice;
  const absent = [...renamed].filter(([, column]) => !columns.includes(column));
  if (absent.length > 0)
    throw new TidelineError(
      "INPUT_MISSING",
      `${file} has no column ` +
        `${absent.map(([name, column]) => `"${column}", which --columns gives to ${name}`).join("; ")}`,
      `${has} ${hint}`.trim(),
    );
  const fields = Object.keys(stream.fields).filter((name) => name !== rowId?.field);
  const found = fields.filter((name) => columns.includes(columnOf(name)));
  const twice = found.filter((name) => columns.indexOf(columnOf(name)) !== columns.lastIndexOf(columnOf(name)));
  if (twice.length > 0)
    throw new TidelineError(
      "INPUT_MISSING",
      `${file} has two columns ${twice.map(columnOf).join(", ")}`,
      "Give the columns names in their order with --columns a,,c; an empty name leaves a column out.",
    );
  const missing = fields.filter((name) => isRequired(stream.fields[name] as Field) && !found.includes(name));
  if (missing.length > 0)
    throw new TidelineError(
      "INPUT_MISSING",
      `${file} has no column ${missing.join(", ")}, which the contract of ${stream.name} requires`,
      (
        `${has} Columns are fields by name: --columns ${missing[0]}=NAME says which ` +
        `column a field has. ${madeId(missing, stream)}${hint}`
      ).trim(),
    );
  return { fields: found, places: found.map((name) => columns.indexOf(columnOf(name))) };
}

/** Returns advice for a file without an id. */
function madeId(missing: readonly string[], stream: Stream): string {
  const id = idFields(stream).find((name) => missing.includes(name));
  return id === undefined ? "" : `If rows have no id, --row-id ${id}=NAME makes one of their numbers. `;
}

/** Returns the error for a file whose number of columns differs from the number of given names. */
export function otherWidth(file: string, names: readonly string[], columns: readonly string[]): TidelineError {
  return new TidelineError(
    "BAD_REQUEST",
    `--columns has ${names.length} names, and ${file} has ${columns.length} columns: ${columns.join(", ")}`,
    "Name all columns in order, an empty name leaves one out: a,,c. Or name some by their own names: a=COLUMN,c=OTHER",
  );
}

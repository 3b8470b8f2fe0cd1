import { isDeepStrictEqual } from "node:util";
import type { Answer, Asked } from "./answer.ts";
import type { TableRow } from "./table-fold.ts";

/** Which rows are asked for. */
export type Selection =
  | { readonly kind: "key"; readonly key: readonly string[] }
  | { readonly kind: "keys"; readonly keys: readonly (readonly string[])[] }
  | { readonly kind: "prefix"; readonly prefix: string }
  | { readonly kind: "where"; readonly column: string; readonly value: string }
  | { readonly kind: "top"; readonly column: string; readonly limit: number }
  /** All rows, `limit` in each answer. */
  | { readonly kind: "pages"; readonly limit: number };

/** What was asked of a table. */
export interface TableQuestion extends Asked {
  readonly rows: Selection;
}

const part = (text: string) => text.replaceAll("%", "%25").replaceAll("/", "%2F");
const MANY = "100000";

/** Where in the API a question's rows are, and with which parameters. */
export function tableAddress({ view, rows }: TableQuestion): { path: string; parameters: [string, string][] } {
  const path = `/tables/${view}`;
  const keyText = (key: readonly string[]) => (key.length === 1 ? (key[0] ?? "") : key.map(part).join("/"));
  switch (rows.kind) {
    case "key":
      return { path: `${path}/${rows.key.map(encodeURIComponent).join("/")}`, parameters: [] };
    case "keys":
      return { path, parameters: rows.keys.map((key): [string, string] => ["key", keyText(key)]) };
    case "prefix":
      return {
        path,
        parameters: [
          ["prefix", rows.prefix],
          ["limit", MANY],
        ],
      };
    case "where":
      return {
        path,
        parameters: [
          [`where[${rows.column}]`, rows.value],
          ["limit", MANY],
        ],
      };
    case "top":
      return {
        path,
        parameters: [
          ["order", `-${rows.column}`],
          ["limit", String(rows.limit)],
        ],
      };
    case "pages":
      return { path, parameters: [["limit", String(rows.limit)]] };
  }
}

/**
 * How the rows of an answer differ from `all` rows of the fold at the answer's position, by the JSON of their keys.
 * `parts`: those of a key.
 */
export function tableDifferences(
  { rows: selection }: TableQuestion,
  { rows }: Answer,
  parts: readonly string[],
  all: ReadonlyMap<string, TableRow>,
): string[] {
  const differences: string[] = [];
  const answered = new Set<string>();
  for (const row of rows) {
    const key = JSON.stringify(parts.map((name) => row[name]));
    if (answered.has(key)) differences.push(`${key}: answered twice`);
    answered.add(key);
    const want = all.get(key);
    if (want === undefined) differences.push(`${key}: there is no such row; got ${JSON.stringify(row)}`);
    else if (!isDeepStrictEqual({ ...row }, want))
      differences.push(`${key}: ${JSON.stringify(row)}, not ${JSON.stringify(want)}`);
    else if (!isSelected(selection, parts, want)) differences.push(`${key}: not asked for`);
  }
  if (selection.kind === "top") differences.push(...topDifferences(selection, rows, all));
  else
    for (const [key, want] of all)
      if (!answered.has(key) && isSelected(selection, parts, want))
        differences.push(`${key}: no such row; want ${JSON.stringify(want)}`);
  return differences;
}

function isSelected(selection: Selection, parts: readonly string[], row: TableRow): boolean {
  const isKey = (key: readonly string[]) => parts.every((name, index) => row[name] === key[index]);
  switch (selection.kind) {
    case "key":
      return isKey(selection.key);
    case "keys":
      return selection.keys.some(isKey);
    case "prefix":
      return String(row[parts[0] ?? ""]).startsWith(selection.prefix);
    case "where":
      return String(row[selection.column]) === selection.value;
    default:
      return true;
  }
}

/** The values that the rows are sorted by are the highest ones, in descending order. */
function topDifferences(
  { column, limit }: Extract<Selection, { kind: "top" }>,
  rows: Answer["rows"],
  all: ReadonlyMap<string, TableRow>,
): string[] {
  const want = [...all.values()]
    .map((row) => Number(row[column]))
    .sort((a, b) => b - a)
    .slice(0, limit);
  const got = rows.map((row) => Number(row[column]));
  return isDeepStrictEqual(got, want) ? [] : [`sorted by ${column}: ${got.join()}, not ${want.join()}`];
}

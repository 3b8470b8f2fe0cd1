import { printable, printableLines } from "./printable.ts";

/** The contents of a table before it is drawn. */
export interface Sheet {
  readonly head: readonly string[];
  /** The names in `head` whose columns are aligned right. */
  readonly right: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/**
 * Returns a sheet as text for a terminal, without control characters from its data. A line feed in a cell begins a new
 * line of the cell.
 */
export async function draw({ head, right, rows }: Sheet): Promise<string> {
  const { default: Table } = await import("cli-table3");
  const table = new Table({
    head: head.map(printable),
    colAligns: head.map((name) => (right.includes(name) ? "right" : "left")),
    style: { head: [], border: [] },
  });
  for (const row of rows) table.push(row.map(printableLines));
  return table.toString();
}

/** Prints a command's result: `value` as JSON, or `sheet` as a table. A table without rows is printed as `empty`. */
export async function print(json: boolean, value: unknown, sheet: Sheet, empty: string): Promise<void> {
  const text = json
    ? printableLines(JSON.stringify(value, null, 1))
    : sheet.rows.length === 0
      ? empty
      : await draw(sheet);
  process.stdout.write(`${text}\n`);
}

/** Returns bytes for people: 1536 -> "1.5 KiB". */
export function bytes(count: number): string {
  const step = Math.min(4, Math.floor(Math.log2(Math.max(1, count)) / 10));
  return step === 0 ? `${count} B` : `${(count / 1024 ** step).toFixed(1)} ${["KiB", "MiB", "GiB", "TiB"][step - 1]}`;
}

/** Returns a time for people, in UTC to the second; "-" for none. */
export function instantText(timeMs: number | null): string {
  return timeMs === null ? "-" : new Date(timeMs).toISOString().replace(/\.\d+Z$/, "Z");
}

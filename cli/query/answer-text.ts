import { TidelineError } from "../../core/errors.ts";
import { filterText } from "../../core/query/filter.ts";
import type { Row } from "../../core/query/present.ts";
import type { AnswerBody, AnswerField } from "../../serving/answer/answer-schemas.ts";
import type { Problem } from "../../serving/common/problem.ts";
import { printable, printableLines } from "../terminal/printable.ts";
import { seconds } from "../terminal/seconds.ts";
import { draw, type Sheet } from "../terminal/sheet.ts";

/** Returns the error for an API that does not answer. */
export function apiSilent({ origin }: URL, cause: unknown): TidelineError {
  const hint =
    "Start `tideline serve`, or set TIDELINE_API_URL to the address where it listens. On a laptop `tideline up` " +
    "starts all servers and roles.";
  return new TidelineError("NOT_READY", `nothing answers at ${origin}`, hint, { cause });
}

/** Returns 2 for an error that the caller can correct, 1 for others. */
export function problemExitCode(status: number): 1 | 2 {
  return status === 400 || status === 404 ? 2 : 1;
}

/** Returns the API's problem, for people. */
export function problemText(status: number, text: string): string {
  const problem = parsed(text);
  if (problem === null)
    return `error: the server answered ${status}, and not in Tideline's words: is TIDELINE_API_URL right?\n`;
  const lines = (problem.errors ?? []).map(
    ({ parameter, problem: what, allowed }) => `  ${parameter}: ${what}\n    allowed: ${allowed}`,
  );
  const body = lines.length > 0 ? lines.join("\n") : `  ${problem.detail}`;
  return printableLines(`error ${problem.code}: ${problem.title}\n${body}\n`);
}

function parsed(text: string): Problem | null {
  try {
    const problem = JSON.parse(text) as Partial<Problem> | null;
    return typeof problem?.code === "string" ? (problem as Problem) : null;
  } catch {
    return null;
  }
}

/** Returns an answer as a table, with its position below. */
export async function answerText(answer: AnswerBody): Promise<string> {
  const fields = Object.entries(answer.fields).filter(([, field]) => !isCutMark(field));
  const [mark] = Object.entries(answer.fields).find(([, field]) => isCutMark(field)) ?? [];
  const isCut = (row: Row) => mark !== undefined && row[mark] === true;
  const { head, right, rows } = fieldsSheet(Object.fromEntries(fields), answer.rows, (row, name) =>
    name === "bucket" && isCut(row) ? CUT : "",
  );
  const { from, to } = answer.window;
  const table = rows.length === 0 ? `no rows between ${from} and ${to}` : await draw({ head, right, rows });
  const note = answer.rows.some(isCut) ? `${CUT.trim()}: ${from} to ${to} is only a part of this bucket's time\n` : "";
  return `${table}\n${note}${footer(answer)}\n`;
}

/** Returns rows as a sheet with the columns that `fields` describe. `behind` returns the text after a value. */
export function fieldsSheet(
  fields: Readonly<Record<string, AnswerField>>,
  rows: readonly Row[],
  behind: (row: Row, name: string) => string = () => "",
): Sheet {
  const columns = Object.entries(fields);
  const head = columns.map(([name, field]) => heading(name, field));
  return {
    head,
    right: head.filter((_, index) => isRight(columns[index]?.[1])),
    rows: rows.map((row) => columns.map(([name, field]) => `${shown(row[name] ?? null, field)}${behind(row, name)}`)),
  };
}

/** Shown after the start of a bucket that the range cuts. */
const CUT = " (partial)";

/** Whether the column says that the range cuts the row's bucket. */
function isCutMark({ kind, type }: AnswerField): boolean {
  return kind === "time" && type === "boolean";
}

function isRight(field: AnswerField | undefined): boolean {
  const isWritten = field?.values === "text" || field?.values === "boolean" || field?.values === "instant";
  return (field?.kind === "measure" && !isWritten) || field?.type === "integer";
}

function heading(name: string, { kind, unit, exact, error }: AnswerField): string {
  const accuracy = exact ? "" : ` ±${Number((error * 100).toFixed(2))} %`;
  const shownUnit = unit === name ? "" : unit;
  const remark = `${shownUnit}${accuracy}`.trim();
  return kind === "measure" && remark !== "" ? `${name} (${remark})` : name;
}

type Field = AnswerBody["rows"][number][string];

/** Returns a value for people. Exact numbers come as text, so that no digits are lost. */
function shown(value: Field | null, field: AnswerField): string {
  const isDimension = field.kind === "dimension";
  if (value === null) return isDimension ? "null" : "-";
  if (Array.isArray(value)) return value.map((item) => record(item, field)).join("\n");
  if (typeof value === "object") return record(value as Readonly<Record<string, Field>>, field);
  if (typeof value === "number") return value.toLocaleString("en-US", { maximumFractionDigits: 2 });
  if (isDimension) return printable(filterText(`${value}`));
  const isExact = field.kind === "measure" && (field.values === "integer" || field.values === "decimal");
  return isExact ? exactText(`${value}`) : printable(measureText(`${value}`));
}

/** Returns a text, in quotes if it looks like a missing value of a measure, or like such a text in quotes. */
function measureText(text: string): string {
  return /^("*)-\1$/.test(text) ? `"${text}"` : text;
}

/** Returns several values of a row. An item is always text. */
function record(values: Readonly<Record<string, Field>>, field: AnswerField): string {
  return Object.entries(values)
    .map(([part, one]) => `${part} ${part === "item" ? printable(`${one}`) : shown(one, field)}`)
    .join("  ");
}

/** Adds separators: 1234567.80 -> "1,234,567.80". */
function exactText(digits: string): string {
  const places = digits.split(".")[1]?.length ?? 0;
  return Intl.NumberFormat("en-US", { minimumFractionDigits: places }).format(digits as `${number}`);
}

function footer({ batchVersion, position, freshnessMs, complete, missing, truncated, rows }: AnswerBody): string {
  const applied = Object.entries(position.applied).map(([partition, offset]) => `${partition}:${offset}`);
  const state = complete ? "complete" : `not complete: ${missing?.message ?? "the batch version alone"}`;
  const more = truncated ? `; the first ${rows.length} rows, --limit shows more` : "";
  return printable(
    `version ${batchVersion}, applied ${applied.join(" ") || "nothing"}; ` +
      `${seconds(freshnessMs)} fresh; ${state}${more}`,
  );
}

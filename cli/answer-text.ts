import { TidelineError } from "../core/errors.ts";
import type { AnswerBody, AnswerField } from "../serving/answer.ts";
import type { Problem } from "../serving/problem.ts";
import { draw } from "./sheet.ts";
import { seconds } from "./status/seconds.ts";

/** Nothing answers where the API should. */
export function apiSilent({ origin }: URL, cause: unknown): TidelineError {
  const hint = "start it with `tideline up` or `tideline serve`, or set TIDELINE_API_URL";
  return new TidelineError("NOT_READY", `nothing answers at ${origin}`, hint, { cause });
}

/** 2 for what the caller can put right, 1 for the rest. */
export function problemExitCode(status: number): 1 | 2 {
  return status === 400 || status === 404 ? 2 : 1;
}

/** What the API objects to, for people. */
export function problemText(status: number, text: string): string {
  const problem = parsed(text);
  if (problem === null)
    return `error: the server answered ${status}, and not in Tideline's words: is TIDELINE_API_URL right?\n`;
  const lines = (problem.errors ?? []).map(
    ({ parameter, problem: what, allowed }) => `  ${parameter}: ${what}\n    allowed: ${allowed}`,
  );
  return `error ${problem.code}: ${problem.title}\n${lines.length > 0 ? lines.join("\n") : `  ${problem.detail}`}\n`;
}

function parsed(text: string): Problem | null {
  try {
    const problem = JSON.parse(text) as Partial<Problem> | null;
    return typeof problem?.code === "string" ? (problem as Problem) : null;
  } catch {
    return null;
  }
}

/** An answer as a table, and below it where it stands. */
export async function answerText(answer: AnswerBody): Promise<string> {
  const fields = Object.entries(answer.fields);
  const rows = answer.rows.map((row) => fields.map(([name, field]) => shown(row[name] ?? null, field)));
  const head = fields.map(([name, field]) => heading(name, field));
  const right = head.filter((_, index) => isRight(fields[index]?.[1]));
  const { from, to } = answer.window;
  const table = rows.length === 0 ? `no rows between ${from} and ${to}` : await draw({ head, right, rows });
  return `${table}\n${footer(answer)}\n`;
}

function isRight(field: AnswerField | undefined): boolean {
  return field?.kind === "measure" || field?.type === "integer";
}

function heading(name: string, { kind, unit, exact, error }: AnswerField): string {
  const accuracy = exact ? "" : ` ±${Number((error * 100).toFixed(2))} %`;
  const shownUnit = unit === name ? "" : unit;
  const remark = `${shownUnit}${accuracy}`.trim();
  return kind === "measure" && remark !== "" ? `${name} (${remark})` : name;
}

function shown(value: AnswerBody["rows"][number][string] | null, field: AnswerField): string {
  if (value === null) return field.kind === "dimension" ? "null" : "-";
  if (Array.isArray(value)) return value.map((item) => shown(item, field)).join("\n");
  if (typeof value === "object")
    return Object.entries(value)
      .map(([part, one]) => `${part} ${shown(one, field)}`)
      .join("  ");
  if (typeof value === "number") return value.toLocaleString("en-US", { maximumFractionDigits: 2 });
  // Integers beyond 2^53 come as text; other text of digits, such as 007, is text.
  const isInteger = field.kind === "measure" && /^-?[1-9]\d{15,}$/.test(`${value}`);
  return isInteger ? BigInt(value).toLocaleString("en-US") : `${value}`;
}

function footer({ batchVersion, position, freshnessMs, complete, missing, truncated, rows }: AnswerBody): string {
  const applied = Object.entries(position.applied).map(([partition, offset]) => `${partition}:${offset}`);
  const state = complete ? "complete" : `not complete: ${missing?.message ?? "the batch version alone"}`;
  const more = truncated ? `; the first ${rows.length} rows, --limit shows more` : "";
  return `version ${batchVersion}, applied ${applied.join(" ") || "nothing"}; ${seconds(freshnessMs)} fresh; ${state}${more}`;
}

import { type Command, InvalidArgumentError, Option } from "commander";
import { TidelineError } from "../../core/errors.ts";
import type { AnswerBody, AnswerField } from "../../serving/answer.ts";
import type { Problem } from "../../serving/problem.ts";
import { loadConfig } from "../config.ts";

/** Flags that are the request's parameters, under their names. */
const PARAMETERS = {
  from: ["<time>", "event time from which on: 2026-01-31T12:00:00Z, or epoch milliseconds"],
  to: ["<time>", "event time up to which"],
  every: ["<duration>", "width of the buckets, such as 5m, 1h or 1d"],
  by: ["<dimensions>", 'dimensions to group by, separated by commas; "" for totals'],
  measures: ["<names>", "measures to show, separated by commas"],
  order: ["<columns>", "columns to sort by, - before a name for descending"],
  limit: ["<n>", "the most rows to show"],
} as const satisfies Record<string, readonly [value: string, description: string]>;

type QueryFlags = { readonly [name in keyof typeof PARAMETERS]?: string } & {
  readonly where: readonly (readonly [dimension: string, value: string])[];
  readonly json: boolean;
  readonly url: boolean;
};

const examples = `
Examples:
  $ tideline query revenue                                        the last 24 hours of event time
  $ tideline query revenue --every 1h --by region --measures revenue,buyers --order=-revenue --limit 10
  $ tideline query revenue --where region=eu --where region=us --by "" --every 1d
`;

/** Adds `tideline query`. */
export function registerQuery(program: Command): void {
  const command = program
    .command("query")
    .description("ask a view, and show its answer as a table")
    .argument("<view>", "which view; GET /views lists them");
  for (const [name, [value, description]] of Object.entries(PARAMETERS))
    command.option(`--${name} ${value}`, description);
  command
    .addOption(
      new Option("--where <dimension=value>", "only this value of a dimension; repeat it for several")
        .argParser(condition)
        .default([], "all"),
    )
    .addOption(new Option("--json", "print the answer as it came").default(false))
    .addOption(new Option("--url", "print the URL that would be asked, and ask nothing").default(false))
    .addHelpText("after", examples)
    .action(async (view: string, flags: QueryFlags) => {
      const url = queryUrl(loadConfig(process.env).apiUrl, view, flags);
      if (flags.url) process.stdout.write(`${url.href}\n`);
      else await ask(url, flags.json);
    });
}

function condition(text: string, held: readonly (readonly [string, string])[]): (readonly [string, string])[] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new InvalidArgumentError("It must be dimension=value.");
  return [...held, [text.slice(0, equals), text.slice(equals + 1)]];
}

function queryUrl(api: string, view: string, flags: QueryFlags): URL {
  const url = new URL(`${api.replace(/\/$/, "")}/views/${encodeURIComponent(view)}`);
  for (const name of Object.keys(PARAMETERS) as (keyof typeof PARAMETERS)[]) {
    const value = flags[name];
    if (value !== undefined) url.searchParams.append(name, value);
  }
  for (const [dimension, value] of flags.where) url.searchParams.append(`where[${dimension}]`, value);
  return url;
}

async function ask(url: URL, json: boolean): Promise<void> {
  const response = await fetch(url).catch((cause: unknown) => {
    throw new TidelineError(
      "NOT_READY",
      `nothing answers at ${url.origin}`,
      "start it with `tideline up` or `tideline serve`, or set TIDELINE_API_URL",
      { cause },
    );
  });
  const text = await response.text();
  if (!response.ok) {
    process.stderr.write(problemText(response.status, text));
    process.exitCode = response.status === 400 || response.status === 404 ? 2 : 1;
  } else {
    process.stdout.write(json ? `${text}\n` : await answerText(JSON.parse(text) as AnswerBody));
  }
}

function problemText(status: number, text: string): string {
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

async function answerText(answer: AnswerBody): Promise<string> {
  const { default: Table } = await import("cli-table3");
  const fields = Object.entries(answer.fields);
  const table = new Table({
    head: fields.map(([name, field]) => heading(name, field)),
    colAligns: fields.map(([, { kind, type }]) => (kind === "measure" || type === "integer" ? "right" : "left")),
    style: { head: [], border: [] },
  });
  for (const row of answer.rows) table.push(fields.map(([name, field]) => shown(row[name] ?? null, field)));
  const rows =
    answer.rows.length === 0 ? `no rows between ${answer.window.from} and ${answer.window.to}` : table.toString();
  return `${rows}\n${footer(answer)}\n`;
}

function heading(name: string, { kind, unit, exact, error }: AnswerField): string {
  const accuracy = exact ? "" : ` ±${Number((error * 100).toFixed(2))} %`;
  const shownUnit = unit === name ? "" : unit;
  const remark = `${shownUnit}${accuracy}`.trim();
  return kind === "measure" && remark !== "" ? `${name} (${remark})` : name;
}

function shown(value: string | number | boolean | null, { kind }: AnswerField): string {
  if (value === null) return kind === "dimension" ? "null" : "-";
  if (typeof value === "number") return value.toLocaleString("en-US", { maximumFractionDigits: 2 });
  // Integers beyond 2^53 come as text.
  return kind === "measure" && /^-?\d+$/.test(`${value}`) ? BigInt(value).toLocaleString("en-US") : `${value}`;
}

function footer({ batchVersion, position, freshnessMs, complete, missing, truncated, rows }: AnswerBody): string {
  const applied = Object.entries(position.applied).map(([partition, offset]) => `${partition}:${offset}`);
  const state = complete ? "complete" : `not complete: ${missing?.message ?? "the batch version alone"}`;
  const more = truncated ? `; the first ${rows.length} rows, --limit shows more` : "";
  return `version ${batchVersion}, applied ${applied.join(" ") || "nothing"}; ${(freshnessMs / 1_000).toFixed(1)} s fresh; ${state}${more}`;
}

import { type Command, Option } from "commander";
import type { KeyHistory } from "../../serving/proof/key-history.ts";
import type { JoinedHistory } from "../../serving/tables/joined-history.ts";
import { askApi } from "../query/ask-api.ts";
import { loadConfig } from "../setup/config.ts";
import { printable, printableLines } from "../terminal/printable.ts";
import { print } from "../terminal/sheet.ts";

const historyHelp = `
The events of one key in the order of the log, from the archive and beyond it from Kafka, with what became of each:
counted, filtered (the table's where leaves it out) or duplicate.

Examples:
  $ tideline history customers c42
  $ tideline history stock SKU-1/berlin --limit 1000 --json | jq .events
  $ tideline history customers c42 --at eyJnIjoi…           up to where an earlier answer stood (its asOf)
`;

const replayHelp = `
Reads all events of the key again, computes its row from them by plain SQL, and compares it with the row that is served
at the same position. Exit code 0: equal; 1: not equal.

Examples:
  $ tideline replay-state customers c42
  $ tideline replay-state customers c42 --at eyJnIjoi…      where an earlier answer stood (its asOf)
`;

interface Flags {
  readonly at?: string;
  readonly limit?: string;
  readonly json: boolean;
}

/** Adds `tideline history` and `tideline replay-state`. */
export function registerHistory(program: Command): void {
  const add = (name: string, description: string, help: string) =>
    program
      .command(name)
      .description(description)
      .argument("<table>", "which table; `tideline table` lists them")
      .argument("<key>", "the key of a row; of several parts with / between them, and / within a part as %2F")
      .option("--at <asOf>", "the position of an earlier answer; the newest one when absent")
      .addOption(new Option("--json", "print the answer as it came").default(false))
      .addHelpText("after", help);
  add("history", "show the events of one key of a table, and where they lie in the log", historyHelp)
    .option("--limit <n>", "the most events to show, the newest ones (default: 100)")
    .action(showHistory);
  add("replay-state", "recompute one row of a table from the log, and compare", replayHelp).action(replay);
}

/** Returns the API's answer for one key of a table; null if it refuses. */
function ask(path: string, table: string, key: string, { at, limit }: Flags): Promise<string | null> {
  const config = loadConfig(process.env);
  const url = new URL(`${config.apiUrl.replace(/\/$/, "")}/${path}/${encodeURIComponent(table)}`);
  for (const [name, value] of Object.entries({ key, at, limit }))
    if (value !== undefined) url.searchParams.set(name, value);
  return askApi(url, config);
}

async function showHistory(table: string, key: string, flags: Flags): Promise<void> {
  const text = await ask("history", table, key, flags);
  if (text === null) return;
  const { events, truncated } = JSON.parse(text) as KeyHistory | JoinedHistory;
  if (flags.json) return void process.stdout.write(printableLines(`${text}\n`));
  const isJoined = events.some((one) => "of" in one);
  const columns = isJoined ? ["event"] : Object.keys(events[0]?.event ?? {});
  const rows = events.map((one) => [
    ...("of" in one ? [one.of] : []),
    `${one.partition}:${one.offset}`,
    one.verdict,
    ...(isJoined ? [cell(one.event)] : columns.map((name) => cell(one.event[name]))),
  ]);
  const head = [...(isJoined ? ["table"] : []), "position", "verdict", ...columns];
  await print(false, events, { head, right: [], rows }, "no events of this key");
  if (truncated) process.stdout.write(`the newest ${events.length}; --limit shows more\n`);
}

/** Returns a value for a table's cell. A value that is not text becomes JSON. */
function cell(value: unknown): string {
  if (value === null || value === undefined) return "-";
  return printable(typeof value === "object" ? JSON.stringify(value) : String(value));
}

async function replay(table: string, key: string, flags: Flags): Promise<void> {
  const text = await ask("replay", table, key, flags);
  if (text === null) return;
  const found = JSON.parse(text) as {
    equal: boolean;
    row: Record<string, unknown> | null;
    served: Record<string, unknown> | null;
    applied: Record<string, string> | Record<string, Record<string, string>>;
  };
  if (!found.equal) process.exitCode = 1;
  if (flags.json) return void process.stdout.write(printableLines(`${text}\n`));
  const columns = Object.keys({ ...found.row, ...found.served });
  const rows = columns.map((name) => [name, cell(found.row?.[name]), cell(found.served?.[name])]);
  await print(false, found, { head: ["column", "from the log", "served"], right: [], rows }, "no row with this key");
  const applied = Object.entries(found.applied).map(([place, at]) =>
    typeof at === "string" ? `${place}:${at}` : `${place} ${positionText(at)}`,
  );
  process.stdout.write(
    `${printable(`${found.equal ? "equal" : "NOT equal"}, at ${applied.join(" ") || "the beginning"}`)}\n`,
  );
}

function positionText(applied: Readonly<Record<string, string>>): string {
  const each = Object.entries(applied).map(([partition, offset]) => `${partition}:${offset}`);
  return each.join(" ") || "nothing";
}

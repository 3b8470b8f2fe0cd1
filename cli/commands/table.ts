import { type Command, Option } from "commander";
import type { TableBody } from "../../serving/tables/table-schemas.ts";
import { askApi } from "../query/ask-api.ts";
import { tableText } from "../query/table-text.ts";
import { type Config, loadConfig } from "../setup/config.ts";
import { printableLines } from "../terminal/printable.ts";
import { print } from "../terminal/sheet.ts";

const help = `
A key of several parts is written with / between them, and / within a part as %2F. Exit code 2: there is no such table
or row.

Examples:
  $ tideline table                                          the tables that there are
  $ tideline table customers c42                            one row
  $ tideline table customers c42 c43 --columns name,balance
  $ tideline table customers --prefix c4 --limit 20
  $ tideline table customers --order=-balance --limit 10    the richest
  $ tideline table customers --where member=true --json | jq .rows
  $ tideline table customers --at eyJnIjoi…                 as it was where an earlier answer stood (its asOf)
`;

interface Flags {
  readonly prefix?: string;
  readonly columns?: string;
  readonly order?: string;
  readonly limit?: string;
  readonly after?: string;
  readonly at?: string;
  readonly min?: string;
  readonly wait?: string;
  readonly where: readonly string[];
  readonly json: boolean;
}

const PARAMETERS = ["prefix", "columns", "order", "limit", "after", "at", "min", "wait"] as const;

/** Adds `tideline table`. */
export function registerTable(program: Command): void {
  program
    .command("table")
    .description("show the rows of a table: the state of every key, or of some")
    .argument("[table]", "which table; without one, all of them are listed")
    .argument("[keys...]", "only the rows with these keys")
    .option("--prefix <text>", "only keys that begin so")
    .option("--where <column=value>", "only rows with this value, null for none; repeat it for several", collect, [])
    .option("--columns <names>", "columns to show beside the key, separated by commas")
    .option("--order <columns>", "columns to sort by, - before a name for descending; the key when absent")
    .option("--limit <n>", "the most rows to show")
    .option("--after <page>", "the page after that of an earlier answer, at the same position")
    .option("--at <asOf>", "exactly the position of an earlier answer")
    .option("--min <position>", "an answer that includes this position: what `tideline send` prints")
    .option("--wait <duration>", "how long to wait for --min at most, up to 30s; 5s when absent")
    .addOption(new Option("--json", "print the answer as it came").default(false))
    .addHelpText("after", help)
    .action(async (name: string | undefined, keys: readonly string[], flags: Flags) => {
      const config = loadConfig(process.env);
      const api = config.apiUrl.replace(/\/$/, "");
      if (name === undefined) return listTables(new URL(`${api}/tables`), config, flags.json);
      const url = new URL(`${api}/tables/${encodeURIComponent(name)}`);
      for (const key of keys) url.searchParams.append("key", key);
      for (const parameter of PARAMETERS) {
        const value = flags[parameter];
        if (value !== undefined) url.searchParams.set(parameter, value);
      }
      for (const condition of flags.where) {
        const [column = "", ...value] = condition.split("=");
        url.searchParams.append(`where[${column}]`, value.join("="));
      }
      // Numbers are asked for as text, because JSON.parse would round long ones.
      if (!flags.json) url.searchParams.set("numbers", "text");
      const text = await askApi(url, config);
      if (text === null) return;
      process.stdout.write(flags.json ? printableLines(`${text}\n`) : await tableText(JSON.parse(text) as TableBody));
      if ((JSON.parse(text) as TableBody).rows.length === 0 && keys.length > 0) process.exitCode = 2;
    });
}

function collect(text: string, held: readonly string[]): string[] {
  return [...held, text];
}

interface Listed {
  readonly name: string;
  readonly stream: string;
  readonly kind: string;
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly ready: boolean;
  readonly complete: boolean;
}

async function listTables(url: URL, config: Config, json: boolean): Promise<void> {
  const text = await askApi(url, config);
  if (text === null) return;
  const { tables } = JSON.parse(text) as { tables: readonly Listed[] };
  const head = ["table", "stream", "kind", "key", "columns", "complete"];
  const rows = tables.map(({ name, stream, kind, key, columns, complete }) => [
    name,
    stream,
    kind,
    key.join("/"),
    columns.filter((column) => !key.includes(column)).join(", "),
    complete ? "yes" : "NO",
  ]);
  await print(json, tables, { head, right: [], rows }, "no tables: docs/tables.md shows how to define one");
}

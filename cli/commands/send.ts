import { type Command, InvalidArgumentError, Option } from "commander";
import { parsePath } from "../../core/contract/record/wire-path.ts";
import { CsvSplitter } from "../../ingest/read/csv.ts";
import { FILE_KINDS } from "../../ingest/send/source.ts";
import { DATE_ORDERS, TIME_NUMBERS } from "../../ingest/send/value-forms.ts";
import type { SendFlags } from "../send/send.ts";
import { loadConfig } from "../setup/config.ts";
import { duration } from "../terminal/flags.ts";

const help = `
What is read: .csv .tsv .json .ndjson .jsonl .parquet, and the first five also as .gz or .zst. A file of another name,
and standard input, is taken for what it begins with. JSON is one object after the other, one a line, or a list of them.

A table begins with a header; its columns become the fields of the same names, other columns are left out; --columns
gives a field the column of another name, in JSON and Parquet, too. Only double quotes quote, as in RFC 4180. The
delimiter is recognised among , ; tab and |. Text is UTF-8, or UTF-16, which is recognised.

Values become what the contract says: 12, 12.0 and +12 are whole numbers; true, t, yes, y and 1 are true; a time is an
ISO 8601 date or date-time (UTC without a zone), the date of a mail, or epoch milliseconds; a list is its JSON. An empty
value is a missing one, and an empty text where a text is required. 64-bit integers and decimals keep every digit, or
refuse their row.

Each row is held to the stream's contract. An invalid one among the first 1000 stops the command before anything is
sent; a later one stops it there, after what came before was sent. --skip-invalid leaves invalid rows out and continues.
Sending a file twice is harmless as far as the stream's dedup window reaches.

Afterwards it prints the position of the last records, which \`query --min\` takes. --wait waits until every view of the
stream has them.

Examples:
  $ tideline send order-completed orders.ndjson
  $ tideline send order-completed orders.csv --dry-run                        only validate, and list every invalid row
  $ tideline send order-completed orders.parquet --format avro --wait
  $ tideline send readings export.csv --delimiter ';' --decimal-comma --dates dmy --encoding windows-1252
  $ tideline send sales cdnow.txt --delimiter whitespace --no-header --columns customer,,sold_on,units,dollars \\
      --row-id id=cdnow --times yyyymmdd
  $ tideline send rides export.csv --columns 'ride_id=Ride No,started_at=Start time'
  $ tideline send quakes all.geojson --rows features --columns 'at=$.properties.time,mag=$.properties.mag'
  $ tideline send readings sensors.csv --missing NA --missing - --times s
  $ unzip -p orders.zip | tideline send order-completed --skip-invalid
`;

/** Adds `tideline send`. */
export function registerSend(program: Command): void {
  const command = program
    .command("send")
    .description("send events of your own from a file or standard input")
    .argument("<stream>", "to which stream")
    .argument("[file]", "CSV, TSV, JSON, NDJSON or Parquet; - or nothing: standard input")
    .addOption(new Option("--dry-run", "validate every row, and send nothing").default(false))
    .addOption(new Option("--skip-invalid", "leave out rows that the contract refuses").default(false))
    .addOption(new Option("--wait", "wait until every view of the stream has the events").default(false))
    .addOption(
      new Option("--timeout <duration>", "how long --wait waits at most").default(600_000, "10m").argParser(duration),
    );
  addFileOptions(command)
    .addOption(
      new Option(
        "--format <format>",
        "send JSON as it is and tables as JSON, or all as Avro in Confluent's wire format",
      )
        .choices(["json", "avro"])
        .default("json"),
    )
    .addOption(new Option("--json", "report as JSON").default(false))
    .addHelpText("after", help)
    .action(async (stream: string, file: string | undefined, flags: SendFlags) => {
      const { send } = await import("../send/send.ts");
      await send(loadConfig(process.env), stream, file ?? "-", flags);
    });
}

/** Adds the options that say how to read the file. */
function addFileOptions(command: Command): Command {
  return command
    .addOption(new Option("--input <kind>", "what the file is, where its name does not say").choices(FILE_KINDS))
    .addOption(
      new Option(
        "--delimiter <character>",
        "of a table: a character, or tab, pipe, space, whitespace (runs of spaces and tabs)",
      ).argParser(delimiter),
    )
    .option("--encoding <name>", "of a text: utf-8, utf-16le, windows-1252 …")
    .option("--no-header", "the table's first row is data; needs --columns")
    .addOption(
      new Option(
        "--columns <names>",
        "which column each field has, id=Order No,at=Time; or names for all columns " +
          "in order, a,,c, an empty one leaves its column out",
      ).argParser(columns),
    )
    .addOption(
      new Option(
        "--rows <place>",
        "where a JSON document has the list of its rows: data, or $.response.items",
      ).argParser(rowsPlace),
    )
    .addOption(
      new Option(
        "--row-id <field=name>",
        "where rows have no id: the field is made of this name and the row's number",
      ).argParser(rowId),
    )
    .addOption(
      new Option("--missing <text>", "a text that stands for a missing value, such as NA; repeat it for several")
        .argParser((text: string, held: readonly string[]) => [...held, text])
        .default([], "only the empty one"),
    )
    .addOption(
      new Option("--times <unit>", "what a number says in a column of times").choices(TIME_NUMBERS).default("ms"),
    )
    .addOption(new Option("--dates <order>", "how to read dates with the year last").choices(DATE_ORDERS))
    .addOption(new Option("--decimal-comma", "numbers are written 12,50").default(false));
}

/**
 * Parses `id=Order No,at=Time` into fields and their columns, and `a,,c` into names in order. A pair with a comma in it
 * has to be in double quotes.
 */
function columns(text: string): NonNullable<SendFlags["columns"]> {
  const splitter = new CsvSplitter(",");
  splitter.push(text, true);
  const row = splitter.next();
  const found = (row?.cells ?? []).map((name) => (name ?? "").trim());
  if (row?.problem !== undefined || found.every((name) => name === ""))
    throw new InvalidArgumentError("It must be names, or field=column, separated by commas.");
  const pairs = found.map((one) => /^(\w+)=(.+)$/.exec(one));
  if (pairs.every((pair) => pair === null)) return { names: found, renamed: new Map() };
  const renamed = new Map(pairs.flatMap((pair) => (pair === null ? [] : [[pair[1] ?? "", pair[2] ?? ""] as const])));
  if (renamed.size === found.length) return { names: null, renamed };
  throw new InvalidArgumentError(
    "It must be either names for all columns, a,,c, or a column for each field that is named, a=COLUMN,c=OTHER.",
  );
}

function rowId(text: string): NonNullable<SendFlags["rowId"]> {
  const [, field, name] = /^(\w+)=([\w.-]+)$/.exec(text) ?? [];
  if (field !== undefined && name !== undefined) return { field, name };
  throw new InvalidArgumentError(
    "It must be a field and a name for this file's rows, id=cdnow. Rows of one name " +
      "are the same events, so another file needs another name.",
  );
}

function rowsPlace(text: string): NonNullable<SendFlags["rows"]> {
  if (!/^\$[.[]/.test(text)) return [text];
  try {
    return parsePath(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

const DELIMITERS: Readonly<Record<string, string>> = {
  ...{ comma: ",", semicolon: ";", tab: "\t", "\\t": "\t", pipe: "|", space: " ", whitespace: "whitespace" },
};

function delimiter(text: string): string {
  const named = DELIMITERS[text];
  if (named !== undefined) return named;
  if (/^[^"\r\n\p{L}\p{N}]$/u.test(text)) return text;
  throw new InvalidArgumentError("It must be one character, or tab, pipe, space, whitespace.");
}

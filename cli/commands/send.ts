import { type Command, Option } from "commander";
import { loadConfig } from "../config.ts";
import type { SendFlags } from "../send.ts";

const help = `
The file's name says what it is: .csv and .parquet are tables, everything else (and standard input) is NDJSON, a JSON event a line.
A table's columns become the fields of the same names, other columns are left out. Values become what the contract says:
whole numbers, decimals, true and false, text as it is, lists from JSON text; instants from a date and time (UTC without a zone) or
epoch milliseconds. An empty value is an absent one, and an empty text where a text is required.

Each row is validated against the stream's contract. An invalid one among the first 1000 stops the command before anything is sent; a
later one stops it there, after what came before was sent. --skip-invalid leaves invalid rows out and goes on. Sending a file twice is
harmless as far as the stream's dedup window reaches.

Examples:
  $ tideline send order-completed orders.ndjson
  $ tideline send order-completed orders.csv --dry-run        only validate
  $ tideline send order-completed orders.parquet --format avro
  $ zcat old.ndjson.gz | tideline send order-completed --skip-invalid
`;

/** Adds `tideline send`. */
export function registerSend(program: Command): void {
  program
    .command("send")
    .description("send events of your own from a file or standard input")
    .argument("<stream>", "to which stream")
    .argument("[file]", "NDJSON, CSV or Parquet; - or nothing: NDJSON from standard input")
    .addOption(new Option("--dry-run", "validate every row, and send nothing").default(false))
    .addOption(new Option("--skip-invalid", "leave out rows that the contract refuses").default(false))
    .addOption(
      new Option("--format <format>", "send rows as they are (tables as JSON), or as Avro in Confluent's wire format")
        .choices(["json", "avro"])
        .default("json"),
    )
    .addOption(new Option("--json", "report as JSON").default(false))
    .addHelpText("after", help)
    .action(async (stream: string, file: string | undefined, flags: SendFlags) => {
      const { send } = await import("../send.ts");
      await send(loadConfig(process.env), stream, file ?? "-", flags);
    });
}

import { type Command, InvalidArgumentError, Option } from "commander";
import { LOG_START_FORMS, type LogStart, parseLogStart } from "../../store/records/log-start.ts";
import { loadConfig } from "../setup/config.ts";
import { wholeNumberFrom } from "../terminal/flags.ts";

const help = `
Shows of every record: its position (partition:offset), Kafka's time, the contract's verdict, key, decoded fields and
headers; of a refused one why, and its original. A topic that no stream reads is shown as it is. Nothing is changed or
written down, and no server of Tideline is needed.

--where is SQL over the decoded fields, as views write it: an instant is epoch milliseconds, a decimal its digits
without the point. A refused record has no fields and is not shown then. Of a topic that no stream reads, key and value
are texts.

A verdict is the contract's. Whether the event is counted depends on the views, and on whether its id came before.

Examples:
  $ tideline tail order-completed                                  the last 10 records, and then what comes
  $ tideline tail order-completed --where "region = 'eu' AND amount_cents > 10000"
  $ tideline tail order-completed --at 2026-01-31T12:00:00Z --limit 20
  $ tideline tail order-completed --at 0:4711 --limit 1            one record, by partition:offset
  $ tideline tail Prod.Orders_v1 --from-beginning --no-follow --format json | jq .original
`;

interface TailFlags {
  readonly fromBeginning: boolean;
  readonly at?: LogStart;
  readonly last: number;
  readonly where?: string;
  readonly limit?: number;
  readonly follow: boolean;
  readonly format: "table" | "json";
}

/** Adds `tideline tail`. */
export function registerTail(program: Command): void {
  program
    .command("tail")
    .description("show a stream's or a topic's records as they come, with the contract's verdict")
    .argument("<stream|topic>", "which stream, or the name of a topic in Kafka")
    .addOption(new Option("--from-beginning", "begin where the log begins").default(false).conflicts(["at", "last"]))
    .addOption(new Option("--at <where>", `begin at ${LOG_START_FORMS}`).argParser(logStart).conflicts("last"))
    .addOption(new Option("--last <n>", "begin with the last n records").argParser(lastRecords).default(10))
    .addOption(new Option("--where <sql>", "only records whose fields fulfil this condition"))
    .addOption(new Option("--limit <n>", "end after n records").argParser(wholeNumberFrom(1)))
    .addOption(new Option("--no-follow", "end where the log ends now"))
    .addOption(new Option("--format <format>", "how to print records").choices(["table", "json"]).default("table"))
    .addHelpText("after", help)
    .action(async (name: string, flags: TailFlags) => {
      const { tail } = await import("../tail/tail.ts");
      const { fromBeginning, at, last, where = null, limit = null, follow, format } = flags;
      const start = fromBeginning
        ? ({ kind: "beginning" } as const)
        : (at ?? ({ kind: "last", records: last } as const));
      await tail(loadConfig(process.env), name, { start, where, limit, follow, format });
    });
}

function logStart(text: string): LogStart {
  const start = parseLogStart(text, Date.now());
  if (start !== null) return start;
  throw new InvalidArgumentError(`It must be ${LOG_START_FORMS}.`);
}

/** 0: only new records. */
function lastRecords(text: string): number {
  return text === "0" ? 0 : Math.min(MOST_LAST, wholeNumberFrom(1)(text));
}

const MOST_LAST = 1_000_000;

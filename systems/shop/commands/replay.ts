import { type Command, InvalidArgumentError, Option } from "commander";
import { wholeNumberFrom } from "../../../cli/terminal/flags.ts";
import type { ReplayProgress, ReplaySpeed } from "../flights/replay.ts";

interface ReplayFlags {
  readonly speed: ReplaySpeed;
  readonly limit?: number;
  readonly again: boolean;
  readonly json: boolean;
}

const examples = `
A replay that was stopped or killed continues where it was: the topic itself says how far it came.
--again always begins with the first row, also after an --again that was interrupted; without it only those rows
are sent that the topic has never held.

Examples:
  $ tideline replay flights                 all three million, as fast as Kafka takes them
  $ tideline replay flights --limit 100000  the first hundred thousand
  $ tideline replay flights --speed 3600    an hour of 2001 each second
`;

/** Adds `tideline replay`. */
export function registerReplay(program: Command): void {
  program
    .command("replay")
    .addHelpText("after", "\nExample:\n  $ tideline replay flights\n")
    .description("send real data again")
    .command("flights")
    .description("three million departures of US domestic flights, January to June 2001")
    .addOption(new Option("--speed <n>", 'n times as fast as it happened, or "max"').default("max").argParser(speed))
    .addOption(new Option("--limit <n>", "only the first n rows (default: all)").argParser(wholeNumberFrom(1)))
    .addOption(new Option("--again", "send what the topic holds already once more").default(false))
    .addOption(new Option("--json", "report as JSON").default(false))
    .addHelpText("after", examples)
    .action(async ({ speed, limit, again, json }: ReplayFlags) => {
      const [{ loadConfig }, { replayFlights }, { interruptible, showProgress }] = await Promise.all([
        import("../../../cli/setup/config.ts"),
        import("../flights/replay.ts"),
        import("../../../cli/terminal/progress.ts"),
      ]);
      const { kafkaBrokers: brokers, namespace } = loadConfig(process.env);
      const line = showProgress("flights");
      const onProgress = ({ row, total }: ReplayProgress) => line.update(row, total);
      const result = await interruptible((stop) =>
        replayFlights({
          brokers,
          namespace,
          speed,
          again,
          stop,
          onProgress,
          ...(limit === undefined ? {} : { limit }),
        }),
      ).finally(() => line.stop());
      process.stdout.write(`${json ? JSON.stringify({ ...result, rate: rateOf(result) }) : inWords(result)}\n`);
    });
}

const rateOf = ({ sent, seconds }: ReplayProgress) => Math.round(sent / Math.max(seconds, 0.001));

function inWords(result: ReplayProgress): string {
  const { total, row, skipped, sent, acknowledged, seconds } = result;
  const done = row === total;
  if (done && sent === 0)
    return `nothing to send: the topic holds all ${total} flights already (--again sends them once more)`;
  const before = skipped === 0 ? "" : `, ${skipped} were there already`;
  const counts =
    `${sent} flights sent, ${acknowledged} acknowledged${before}, in ` +
    `${seconds.toFixed(1)} s (${rateOf(result)}/s)`;
  return done ? counts : `stopped before row ${row} of ${total}: ${counts}\nthe same command continues from there`;
}

function speed(text: string): ReplaySpeed {
  const value = Number(text);
  if (text === "max") return text;
  if (text.trim() !== "" && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0, or "max".');
}

import { type Command, InvalidArgumentError, Option } from "commander";
import type { SimulationProgress } from "../../ingest/simulate.ts";

interface SimulateFlags {
  readonly rate: number;
  readonly count?: number;
  readonly seed?: number;
  readonly mode: "kafka" | "file";
  readonly outfile?: string;
  readonly from?: number;
  readonly json: boolean;
}

const examples = `
Examples:
  $ tideline simulate orders                                   200 orders a second until Ctrl+C
  $ tideline simulate orders --rate 50000 --count 1000000      a million, twenty seconds long
  $ tideline simulate orders --mode file --outfile orders.ndjson --count 10000 --seed 7
`;

/** Adds `tideline simulate`. */
export function registerSimulate(program: Command): void {
  program
    .command("simulate")
    .description("make up events and send them")
    .command("orders")
    .description("a modest shop's completed orders; the same seed makes the same orders")
    .addOption(new Option("--rate <n>", "orders a second").default(200).argParser(positiveNumber))
    .addOption(
      new Option("--count <n>", "end after so many orders (default: go on until Ctrl+C)").argParser(wholeNumber),
    )
    .addOption(new Option("--seed <n>", "which orders (default: others each time)").argParser(wholeNumber))
    .addOption(
      new Option("--mode <where>", "send to Kafka, or write a file").choices(["kafka", "file"]).default("kafka"),
    )
    .addOption(new Option("--outfile <path>", "with --mode file: the file, one JSON event a line"))
    .addOption(
      new Option("--from <time>", "with --mode file: when the first order was completed (default: now)").argParser(
        instant,
      ),
    )
    .addOption(new Option("--json", "report as JSON").default(false))
    .addHelpText("after", examples)
    .action(async (flags: SimulateFlags, command: Command) => {
      const seed = flags.seed ?? Math.floor(Math.random() * 2 ** 48);
      if (flags.mode === "file") await writeFile(flags, seed, command);
      else await sendToKafka(flags, seed, command);
    });
}

async function sendToKafka(flags: SimulateFlags, seed: number, command: Command): Promise<void> {
  for (const flag of ["outfile", "from"] as const) {
    if (flags[flag] !== undefined) command.error(`error: --${flag} needs --mode file`);
  }
  const [{ loadConfig }, { simulateOrders }, { interruptible, showProgress }] = await Promise.all([
    import("../config.ts"),
    import("../../ingest/simulate.ts"),
    import("../progress.ts"),
  ]);
  const { kafkaBrokers: brokers, namespace } = loadConfig(process.env);
  process.stderr.write(`seed ${seed}\n`);
  const { rate, count } = flags;
  const line = showProgress("orders");
  const result = await interruptible((stop) =>
    simulateOrders({
      brokers,
      namespace,
      seed,
      rate,
      stop,
      ...(count === undefined ? {} : { count, onProgress: ({ sent }) => line.update(sent, count) }),
    }),
  ).finally(() => line.stop());
  report(flags, seed, result);
}

async function writeFile(flags: SimulateFlags, seed: number, command: Command): Promise<void> {
  const { outfile, count, rate, from = Date.now() } = flags;
  if (outfile === undefined) return command.error("error: --mode file needs --outfile <path>");
  if (count === undefined) return command.error("error: --mode file needs --count <n>");
  const [{ open }, { orderLines }, { interruptible }] = await Promise.all([
    import("node:fs/promises"),
    import("../../ingest/simulate.ts"),
    import("../progress.ts"),
  ]);
  const beganMs = performance.now();
  let sent = 0;
  await interruptible(async (stop) => {
    const file = await open(outfile, "w");
    try {
      for (const { text, lines } of orderLines({ seed, count, from, rate })) {
        if (stop.aborted) break;
        await file.write(text);
        sent += lines;
      }
    } finally {
      await file.close();
    }
  });
  report(flags, seed, { sent, acknowledged: sent, seconds: (performance.now() - beganMs) / 1000 });
}

function report({ json }: SimulateFlags, seed: number, { sent, acknowledged, seconds }: SimulationProgress): void {
  const rate = Math.round(sent / Math.max(seconds, 0.001));
  const text = `${sent} orders sent, ${acknowledged} acknowledged, in ${seconds.toFixed(1)} s (${rate}/s), seed ${seed}`;
  process.stdout.write(`${json ? JSON.stringify({ sent, acknowledged, seconds, rate, seed }) : text}\n`);
}

function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError("It must be a number above 0.");
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError("It must be a whole number from 0.");
}

function instant(text: string): number {
  const value = Date.parse(text);
  if (!Number.isNaN(value)) return value;
  throw new InvalidArgumentError("It must be a time such as 2026-01-31T12:00:00Z.");
}

import { type Command, Option } from "commander";
import type { Simulator } from "../../core/definition/simulator.ts";
import type { Disorder } from "../../ingest/simulate/records.ts";
import { loadConfig } from "../setup/config.ts";
import { instant, percent, positiveNumber, wholeNumberFrom } from "../terminal/flags.ts";
import { interruptible, showProgress } from "../terminal/progress.ts";

interface Flags extends Disorder {
  readonly rate: number;
  readonly mode: "kafka" | "file";
  readonly outfile?: string;
  readonly count?: number;
  readonly seed?: number;
  readonly from?: number;
  readonly json: boolean;
}

/** The default start of the events in a file. It is fixed, so that the same seed makes the same bytes. */
const FILE_FROM_MS = Date.UTC(2026, 0, 1);

/** Adds `tideline simulate <name>` for each simulator of a system. */
export function registerSimulators(program: Command, simulators: readonly Simulator[]): void {
  const [first] = simulators;
  if (first === undefined) return;
  const group = program
    .command("simulate")
    .description("send simulated events")
    .addHelpText("after", `\nExample:\n  $ tideline simulate ${first.name}\n`);
  for (const simulator of simulators) registerOne(group, simulator);
}

function registerOne(group: Command, simulator: Simulator): void {
  const { name, description, unit, rate, parameters = {} } = simulator;
  const share = (flag: string, what: string) =>
    new Option(`${flag} <percent>`, `${unit} that ${what}`).default(0, "0%").argParser(percent);
  const command = group.command(name).description(description);
  for (const [parameter, { description: what, byDefault }] of Object.entries(parameters))
    command.addOption(new Option(`--${parameter} <n>`, what).default(byDefault).argParser(wholeNumberFrom(1)));
  command
    .addOption(new Option("--rate <n>", `${unit} a second`).default(rate).argParser(positiveNumber))
    .addOption(new Option("--count <n>", `end after n ${unit} (default: until Ctrl+C)`).argParser(wholeNumberFrom(1)))
    .addOption(new Option("--seed <n>", `which ${unit} (default: others each time)`).argParser(wholeNumberFrom(1)))
    .addOption(
      new Option(
        "--from <time>",
        "when the first one happens (default: now; of a file 2026-01-01T00:00:00Z)",
      ).argParser(instant),
    )
    .addOption(share("--duplicates", "are delivered twice"))
    .addOption(share("--late", "arrive up to ten minutes late"))
    .addOption(share("--malformed", "have a record beside them that no contract accepts"))
    .addOption(
      new Option("--mode <where>", "send to Kafka, or write a file").choices(["kafka", "file"]).default("kafka"),
    )
    .addOption(new Option("--outfile <path>", "with --mode file: the file, one JSON event a line"))
    .addOption(new Option("--json", "report as JSON").default(false))
    .addHelpText("after", helpOf(simulator))
    .action((flags: Flags) => simulate(simulator, flags, command));
}

function helpOf({ name, unit }: Simulator): string {
  return `
The same seed makes the same ${unit}; in a file the same bytes. Ctrl+C ends it when what was sent has arrived.

Examples:
  $ tideline simulate ${name}
  $ tideline simulate ${name} --malformed 1% --late 2% --duplicates 1%
  $ tideline simulate ${name} --mode file --outfile ${name}.json --count 100 --seed 7
`;
}

async function simulate(simulator: Simulator, flags: Flags, command: Command): Promise<void> {
  const { mode, outfile, count, seed = Math.floor(Math.random() * 2 ** 48), from, rate } = flags;
  if (mode === "kafka" && outfile !== undefined) return command.error("error: --outfile needs --mode file");
  if (mode === "file" && outfile === undefined) return command.error("error: --mode file needs --outfile <path>");
  if (mode === "file" && count === undefined) return command.error("error: --mode file needs --count <n>");
  const { simulatedRecords } = await import("../../ingest/simulate/records.ts");
  const { sendSimulated, writeSimulated } = await import("../../ingest/simulate/run.ts");
  const own = command.opts<Record<string, number>>();
  const parameters = Object.fromEntries(Object.keys(simulator.parameters ?? {}).map((name) => [name, own[name] ?? 0]));
  const recordsFrom = (nowMs: number) => {
    const fromMs = from ?? (mode === "file" ? FILE_FROM_MS : nowMs);
    return simulatedRecords(simulator, { seed, rate, fromMs, parameters }, flags);
  };
  process.stderr.write(`seed ${seed}\n`);
  const line = showProgress(simulator.unit);
  const onProgress = (steps: number) => (count === undefined ? undefined : line.update(steps, count));
  const { kafkaBrokers: brokers, namespace } = loadConfig(process.env);
  const made = await interruptible((stop) => {
    const run = { recordsFrom, count: count ?? Number.POSITIVE_INFINITY, stop, onProgress };
    return outfile === undefined
      ? sendSimulated(simulator, { brokers, namespace, rate }, run)
      : writeSimulated(outfile, run);
  }).finally(() => line.stop());
  const text = `${made.steps} ${simulator.unit}, ${made.records} records, seed ${seed}`;
  process.stdout.write(`${flags.json ? JSON.stringify({ ...made, seed }) : text}\n`);
}

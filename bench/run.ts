import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { benchArchive } from "./measurements/archive.ts";
import { benchBeside } from "./measurements/beside.ts";
import { benchBudgets } from "./measurements/budgets.ts";
import { benchFreshness } from "./measurements/freshness.ts";
import { benchHistory } from "./measurements/history.ts";
import { benchHttp } from "./measurements/http.ts";
import { benchLive } from "./measurements/live.ts";
import { benchManyViews } from "./measurements/many-views.ts";
import { benchMemory } from "./measurements/memory.ts";
import { benchParquet } from "./measurements/parquet.ts";
import { benchPartitions } from "./measurements/partitions.ts";
import { benchRebuild } from "./measurements/rebuild.ts";
import { benchRecords } from "./measurements/records.ts";
import { benchRefresh } from "./measurements/refresh.ts";
import { benchRules } from "./measurements/rules.ts";
import { benchSend } from "./measurements/send.ts";
import { benchSpeed, FORMATS } from "./measurements/speed.ts";
import { benchStartUp } from "./measurements/start-up.ts";
import { benchTables } from "./measurements/tables.ts";
import { benchWide } from "./measurements/wide.ts";
import { markdownTable, writeResult } from "./result.ts";
import { type Figure, reachesBar } from "./setup/figure.ts";
import { closeInstallations } from "./setup/installation.ts";

interface Options {
  readonly only: readonly string[];
  /** How long memory is watched. */
  readonly minutes: number;
  /** What the events of `speed` are written as. */
  readonly formats: readonly (typeof FORMATS)[number][];
  /** Keys of the tables. */
  readonly keys: number;
}

type Benchmark = (report: (line: string) => void, options: Options) => Promise<Figure[]>;

/** Every benchmark: a file that measures something as a ratio to a ceiling of the same run, or against a limit. */
const benchmarks: Readonly<Record<string, Benchmark>> = {
  speed: benchSpeed,
  send: benchSend,
  records: benchRecords,
  wide: benchWide,
  tables: benchTables,
  history: benchHistory,
  freshness: benchFreshness,
  rules: benchRules,
  archive: benchArchive,
  rebuild: benchRebuild,
  refresh: benchRefresh,
  parquet: benchParquet,
  http: benchHttp,
  budgets: benchBudgets,
  live: benchLive,
  "many-views": benchManyViews,
  beside: benchBeside,
  memory: benchMemory,
  "start-up": benchStartUp,
  partitions: benchPartitions,
};

const names = Object.keys(benchmarks);
const program = new Command("bench")
  .description("measures Tideline against ceilings of the same run; results go to .tideline/bench.json")
  .addOption(new Option("--only <name>", "one benchmark; may be repeated").argParser(chosen).default([], "all"))
  .addOption(new Option("--minutes <n>", "how long memory is watched").argParser(positive).default(2))
  .addOption(
    new Option("--formats <names...>", "what the events of speed are written as")
      .choices(FORMATS)
      .default([...FORMATS]),
  )
  .addOption(new Option("--keys <n>", "keys of the tables").argParser(keys).default(300_000));
const options = program.parse().opts<Options>();

function chosen(name: string, before: readonly string[]): readonly string[] {
  if (names.includes(name)) return [...before, name];
  throw new InvalidArgumentError(`It must be one of ${names.join(", ")}.`);
}

function positive(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 600) return value;
  throw new InvalidArgumentError("It must be a number of minutes.");
}

function keys(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1_000 && value <= 10_000_000) return value;
  throw new InvalidArgumentError("It must be a number of keys, 1000 to 10000000.");
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.once(signal, () => {
    process.stderr.write("stopping\n");
    // What is under way fails for want of its servers; there is nothing to say about that.
    process.on("unhandledRejection", () => undefined);
    void closeInstallations().finally(() => process.exit(130));
  });

const figures: Figure[] = [];
for (const name of names.filter((one) => options.only.length === 0 || options.only.includes(one))) {
  const startMs = performance.now();
  figures.push(...((await benchmarks[name]?.((line) => process.stderr.write(`${name}: ${line}\n`), options)) ?? []));
  process.stderr.write(`${name}: took ${Math.round((performance.now() - startMs) / 1_000)} s\n`);
}
process.stdout.write(`${markdownTable(figures)}\n`);
await writeResult(join(".tideline", "bench.json"), figures);
process.exitCode = figures.every(reachesBar) ? 0 : 1;

import { mkdir, writeFile } from "node:fs/promises";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import { Command, Option } from "commander";
import type { Figure } from "./figure.ts";
import { benchParquet } from "./parquet.ts";
import { benchRefresh } from "./refresh.ts";
import { benchSpeed } from "./speed.ts";

/** Every benchmark: a file that measures something as a ratio to a ceiling measured in the same run. */
const benchmarks: Readonly<Record<string, (report: (line: string) => void) => Promise<Figure[]>>> = {
  speed: benchSpeed,
  parquet: benchParquet,
  refresh: benchRefresh,
};

const program = new Command("bench")
  .description("measures Tideline as ratios to ceilings of the same run; results go to .tideline/bench.json")
  .addOption(new Option("--only <name>", "one benchmark").choices(Object.keys(benchmarks)));
const { only } = program.parse().opts<{ only?: string }>();

const figures: Figure[] = [];
for (const [name, bench] of Object.entries(benchmarks)) {
  if (only === undefined || only === name)
    figures.push(...(await bench((line) => process.stderr.write(`${name}: ${line}\n`))));
}

const table = new Table({
  head: ["what", "ours", "ceiling", "ratio", "bar"],
  style: { head: [], border: [] },
  colAligns: ["left", "right", "right", "right", "right"],
});
for (const { what, ours, ceiling, unit, bar } of figures) {
  const shown = (value: number) => `${Math.round(value).toLocaleString("en-US")} ${unit}`;
  table.push([what, shown(ours), shown(ceiling), (ours / ceiling).toFixed(2), bar === null ? "" : `≥ ${bar}`]);
}
process.stdout.write(`${table.toString()}\n`);
const machine = {
  cores: cpus().length,
  cpu: cpus()[0]?.model,
  memoryGib: Math.round(totalmem() / 2 ** 30),
  node: process.version,
};
await mkdir(".tideline", { recursive: true });
await writeFile(join(".tideline", "bench.json"), `${JSON.stringify({ machine, figures }, null, 2)}\n`);
process.exitCode = figures.every(({ ours, ceiling, bar }) => bar === null || ours / ceiling >= bar) ? 0 : 1;

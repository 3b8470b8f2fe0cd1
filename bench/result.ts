import { mkdir, readFile, writeFile } from "node:fs/promises";
import { arch, cpus, platform, totalmem } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { DuckDBInstance } from "@duckdb/node-api";
import { execa } from "execa";
import { unwatched } from "../stack/process/work.ts";
import { cacheFolder } from "../stack/programs/cache.ts";
import { kafkaVersion } from "../stack/programs/kafka-program.ts";
import { temporalVersion } from "../stack/programs/temporal-program.ts";
import { findRedis } from "../stack/servers/redis.ts";
import { type Figure, reachesBar } from "./setup/figure.ts";

/** A table that can be pasted into a document, a row a figure. */
export function markdownTable(figures: readonly Figure[]): string {
  const rows = figures.map((made) => {
    const amount = (value: number) => `${rounded(value)} ${made.unit}`;
    const missed = reachesBar(made) ? "" : " (missed)";
    return made.kind === "ratio"
      ? [made.what, amount(made.ours), amount(made.ceiling), made.ratio.toFixed(2), bar(made.bar, "≥", "") + missed]
      : [made.what, amount(made.ours), "", "", bar(made.bar, "≤", ` ${made.unit}`) + missed];
  });
  const table = [["what", "ours", "ceiling", "ratio", "bar"], ...rows];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const padded = (row: readonly string[]) =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)));
  const rule = widths.map((width, column) => (column === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  const [head = [], ...body] = table;
  return [line(padded(head)), line(rule), ...body.map((row) => line(padded(row)))].join("\n");
}

function bar(value: number | null, sign: string, unit: string): string {
  return value === null ? "" : `${sign} ${value}${unit}`;
}

/** Small values with a digit behind the point, large ones with commas. */
function rounded(value: number): string {
  return value.toLocaleString("en-US", { maximumFractionDigits: value < 20 ? 1 : 0 });
}

/** Writes all figures with the machine and the versions that they were taken with. */
export async function writeResult(file: string, figures: readonly Figure[]): Promise<void> {
  const processors = cpus();
  const machine = {
    cores: processors.length,
    cpu: processors[0]?.model,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${arch()}`,
  };
  const document = { date: new Date().toISOString(), machine, versions: await versions(), figures };
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(document, null, 2)}\n`);
}

async function versions(): Promise<Record<string, string>> {
  const { version } = JSON.parse(
    await readFile(fileURLToPath(new URL("../package.json", import.meta.url)), "utf8"),
  ) as { version: string };
  const instance = await DuckDBInstance.create(":memory:");
  const duck = await instance.connect();
  const [[duckdb] = []] = (await duck.runAndReadAll("SELECT version()")).getRows();
  duck.closeSync();
  instance.closeSync();
  const { stdout } = await execa(await findRedis(cacheFolder(), unwatched), ["--version"]);
  return {
    tideline: version,
    node: process.version,
    kafka: kafkaVersion,
    redis: /v=(\S+)/.exec(stdout)?.[1] ?? stdout,
    temporal: temporalVersion,
    duckdb: String(duckdb),
  };
}

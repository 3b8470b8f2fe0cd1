import { join } from "node:path";
import { isTidelineError } from "../../core/errors.ts";
import { Archive } from "../../store/archive/archive.ts";
import { type CheckReport, checkDefinitions } from "../../store/check/check.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { unreachable } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import type { Config } from "../setup/config.ts";
import { inTime } from "../setup/patience.ts";
import { ExitWith } from "../terminal/exit-with.ts";
import { printableLines } from "../terminal/printable.ts";
import { interruptible, showProgress } from "../terminal/progress.ts";
import { checkMarkdown } from "./check-markdown.ts";
import { checkText } from "./check-text.ts";

export interface CheckFlags {
  readonly last: number;
  readonly view?: string;
  readonly format: "text" | "json" | "markdown";
}

/** The exit codes beside 0. */
const DIFFERENT = 1;
const NOT_CHECKED = 2;

/** Prints how the definitions in files differ from the running ones, and sets the exit code. */
export async function check(config: Config, { last, view, format }: CheckFlags): Promise<void> {
  await interruptible(async (stop) => {
    const report = await made(config, { last, view: view ?? null }, stop).catch((error: unknown) => {
      if (stop.aborted) return null;
      throw new ExitWith(NOT_CHECKED, readable(config, error));
    });
    if (report === null) return;
    const texts = { text: checkText, markdown: checkMarkdown, json: jsonText };
    process.stdout.write(texts[format](report));
    if (!report.same) process.exitCode = DIFFERENT;
  });
}

function jsonText(report: CheckReport): string {
  return printableLines(`${JSON.stringify(report, null, 1)}\n`);
}

async function made(
  config: Config,
  { last, view }: { last: number; view: string | null },
  signal: AbortSignal,
): Promise<CheckReport> {
  const definitions = await loadDefinitions(config);
  const data = new DataDirectory(join(config.home, "data"));
  const log = new LogReader({ brokers: config.kafkaBrokers, clientId: "tideline-check" });
  const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 2_048, directories: [data.root] });
  const line = showProgress("records");
  let done = 0;
  try {
    const schemas = Schemas.withoutTrace(data, openRegistry(data, config.schemaRegistry));
    const sources = { data, archive: new Archive(data), log, schemas, pool };
    const onRecords = (records: number) => {
      done += records;
      line.update(done, Math.max(done, 2 * last));
    };
    return await checkDefinitions(sources, { definitions, namespace: config.namespace, last, view, signal, onRecords });
  } finally {
    line.stop();
    pool.close();
    await inTime(log.close()).catch(() => {});
  }
}

function readable({ kafkaBrokers }: Config, error: unknown): unknown {
  const fromKafka = !isTidelineError(error) && String((error as { code?: unknown }).code).startsWith("PLT_KFK");
  return fromKafka ? unreachable(kafkaBrokers, error) : error;
}

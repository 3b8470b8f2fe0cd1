import { stat } from "node:fs/promises";
import { extname, join, resolve } from "node:path";
import { TidelineError } from "../core/errors.ts";
import type { Stream } from "../core/stream.ts";
import { avroEncoder } from "../ingest/avro-encoder.ts";
import { type InvalidRow, type SendResult, sendEvents } from "../ingest/send-events.ts";
import { ndjsonSource, openNdjson, type Source, tableSource } from "../ingest/send-rows.ts";
import { DataDirectory } from "../store/files.ts";
import { openRegistry } from "../store/registry-open.ts";
import { topicName } from "../store/topics.ts";
import type { Config } from "./config.ts";
import { createStreamTopics } from "./create-topics.ts";
import { findStream } from "./definitions.ts";
import { interruptible, showProgress } from "./progress.ts";

export interface SendFlags {
  readonly dryRun: boolean;
  readonly skipInvalid: boolean;
  readonly format: "json" | "avro";
  readonly json: boolean;
}

/** So many invalid rows are named; the rest is counted. */
const NAMED = 20;

/** Sends a file's events, and reports. Exit code 1 when rows were invalid, unless they were to be skipped. */
export async function send(config: Config, name: string, file: string, flags: SendFlags): Promise<void> {
  const stream = await findStream(config, name);
  const source = await openSource(file, stream);
  try {
    if (!flags.dryRun) await createStreamTopics(config);
    const result = await sendSource(config, stream, source, flags);
    process.stdout.write(`${flags.json ? JSON.stringify(result) : inWords(result, flags)}\n`);
    if (result.invalid > 0 && !flags.skipInvalid) process.exitCode = 1;
  } finally {
    source.close();
  }
}

async function sendSource(config: Config, stream: Stream, source: Source, flags: SendFlags): Promise<SendResult> {
  const { total, unit } = source;
  const topic = topicName(config.namespace, stream.name);
  const registry = openRegistry(new DataDirectory(join(config.home, "data")), config.schemaRegistry);
  // A dry run registers nothing, and so knows no ids.
  const encode = flags.format === "avro" && !flags.dryRun ? await avroEncoder(registry, stream, topic) : undefined;
  const line = total === null ? null : showProgress(unit);
  let named = 0;
  const onInvalid = ({ line: row, reason }: InvalidRow) => {
    named += 1;
    if (named <= NAMED) process.stderr.write(`row ${row}: ${reason}\n`);
    if (named === NAMED) process.stderr.write("further invalid rows are only counted\n");
  };
  return interruptible((stop) =>
    sendEvents(source, {
      brokers: config.kafkaBrokers,
      stream,
      topic,
      ...(encode === undefined ? {} : { encode }),
      dryRun: flags.dryRun,
      skipInvalid: flags.skipInvalid,
      stop,
      onInvalid,
      onProgress: (done) => line?.update(done, total ?? 0),
    }),
  ).finally(() => line?.stop());
}

async function openSource(file: string, stream: Stream): Promise<Source> {
  if (file === "-") return ndjsonSource(process.stdin, null);
  const path = resolve(file);
  const found = await stat(path).catch((cause: unknown) => {
    throw new TidelineError("INPUT_MISSING", `there is no file ${path}`, "Name a file that exists.", { cause });
  });
  const name = path.toLowerCase();
  const extension = extname(name.replace(/(\.csv)\.(gz|zst)$/, "$1")).slice(1);
  if (/\.(gz|zst|zip|bz2|xz)$/.test(name) && extension !== "csv")
    throw new TidelineError(
      "INPUT_MISSING",
      `${path} is compressed`,
      "Unpack it first; only .csv.gz and .csv.zst are read as they are.",
    );
  if (extension === "csv" || extension === "parquet") return tableSource(path, extension, stream);
  return openNdjson(path, found.size);
}

function inWords({ rows, valid, invalid, sent, seconds }: SendResult, { dryRun }: SendFlags): string {
  const read = `${rows} rows read, ${valid} valid, ${invalid} invalid`;
  const rate = Math.round(sent / Math.max(seconds, 0.001));
  return dryRun ? `${read}; nothing was sent` : `${read}, ${sent} sent, in ${seconds.toFixed(1)} s (${rate}/s)`;
}

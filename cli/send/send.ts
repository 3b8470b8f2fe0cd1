import { join } from "node:path";
import { amount } from "../../core/amount.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { encodingNamed } from "../../ingest/read/encoding.ts";
import { avroEncoder } from "../../ingest/send/avro-encoder.ts";
import { type InvalidRow, refusalText } from "../../ingest/send/refusal.ts";
import { type SendResult, sendEvents } from "../../ingest/send/send-events.ts";
import { openSource } from "../../ingest/send/send-rows.ts";
import type { FileOptions, Source } from "../../ingest/send/source.ts";
import type { ValueForms } from "../../ingest/send/value-forms.ts";
import { loadDefinitions, viewsOfStream } from "../../store/definitions/definitions.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import type { Config } from "../setup/config.ts";
import { createStreamTopics } from "../setup/create-topics.ts";
import { findStream } from "../setup/definitions.ts";
import { printable } from "../terminal/printable.ts";
import { interruptible, showProgress } from "../terminal/progress.ts";
import { positionText, waitForViews } from "./send-wait.ts";

export interface SendFlags {
  readonly dryRun: boolean;
  readonly skipInvalid: boolean;
  readonly format: "json" | "avro";
  readonly json: boolean;
  readonly wait: boolean;
  /** How long `wait` may take, in milliseconds. */
  readonly timeout: number;
  readonly input?: FileOptions["kind"];
  readonly delimiter?: string;
  readonly encoding?: string;
  readonly header: boolean;
  readonly columns?: Pick<FileOptions, "names" | "renamed">;
  readonly rows?: FileOptions["rows"];
  readonly rowId?: FileOptions["rowId"];
  readonly missing: readonly string[];
  readonly times: ValueForms["timeNumbers"];
  readonly dates?: ValueForms["dateOrder"];
  readonly decimalComma: boolean;
}

/** At most this many invalid rows are shown; the rest is counted. */
const NAMED = 20;

/**
 * Sends a file's events and prints a report. Sets exit code 1 if rows were invalid and not to be skipped, or if a view
 * does not reach the position that `wait` asks for.
 */
export async function send(config: Config, name: string, file: string, flags: SendFlags): Promise<void> {
  const stream = await findStream(config, name);
  const source = await openSource(file, stream, fileOptions(flags));
  try {
    if (!flags.dryRun) await createStreamTopics(config, (line) => process.stderr.write(`${line}\n`));
    const result = await sendSource(config, stream, { file, source }, flags);
    await report(config, stream, result, flags);
    if (result.invalid > 0 && !flags.skipInvalid && process.exitCode !== 130) process.exitCode = 1;
  } finally {
    source.close();
  }
}

function fileOptions(flags: SendFlags): FileOptions {
  const { input = null, delimiter, encoding, header, columns, rows = null, rowId = null } = flags;
  return {
    ...{ kind: input, header, rows, rowId },
    delimiter: delimiter ?? null,
    encoding: encoding === undefined ? null : encodingNamed(encoding),
    ...(columns ?? { names: null, renamed: new Map() }),
  };
}

async function sendSource(
  config: Config,
  stream: Stream,
  { file, source }: { readonly file: string; readonly source: Source },
  flags: SendFlags,
): Promise<SendResult> {
  const { total, unit } = source;
  const topic = topicOf(config.namespace, stream);
  const registry = openRegistry(new DataDirectory(join(config.home, "data")), config.schemaRegistry);
  // A dry run registers no schemas, so it has no schema ids to write.
  const encode = flags.format === "avro" && !flags.dryRun ? await avroEncoder(registry, stream, topic) : undefined;
  const line = total === null ? null : showProgress(unit);
  let named = 0;
  const onInvalid = (row: InvalidRow) => {
    named += 1;
    if (named <= NAMED) process.stderr.write(`${printable(refusalText(row))}\n`);
    if (named === NAMED) process.stderr.write("further invalid rows are only counted\n");
  };
  return interruptible((stop) =>
    sendEvents(source, {
      ...{ brokers: config.kafkaBrokers, stream, topic, stop, onInvalid },
      file: file === "-" ? "standard input" : file,
      forms: {
        timeNumbers: flags.times,
        dateOrder: flags.dates ?? null,
        decimalComma: flags.decimalComma,
        missing: new Set(flags.missing),
      },
      ...(encode === undefined ? {} : { encode }),
      dryRun: flags.dryRun,
      skipInvalid: flags.skipInvalid,
      onProgress: (done) => line?.update(done, total ?? 0),
      onWarning: (warning) => process.stderr.write(`warning: ${printable(warning)}\n`),
    }),
  ).finally(() => line?.stop());
}

async function report(config: Config, stream: Stream, result: SendResult, flags: SendFlags): Promise<void> {
  const { reached, ...counts } = result;
  const position = positionText(topicOf(config.namespace, stream), reached);
  const views = viewsOfStream(await loadDefinitions(config), stream.name);
  if (flags.json) process.stdout.write(`${JSON.stringify({ ...counts, position })}\n`);
  else process.stdout.write(`${inWords(result, flags)}\n${position === "" ? "" : positionLines(position, views)}`);
  // After Ctrl+C the command does not wait.
  if (flags.wait && position !== "" && process.exitCode !== 130)
    await waitForViews(config, views, reached, flags.timeout);
}

function inWords({ rows, valid, invalid, sent, seconds }: SendResult, { dryRun }: SendFlags): string {
  const read = `${amount(rows, "row")} read, ${valid} valid, ${invalid} invalid`;
  const rate = Math.round(sent / Math.max(seconds, 0.001));
  return dryRun ? `${read}; nothing was sent` : `${read}, ${sent} sent, in ${seconds.toFixed(1)} s (${rate}/s)`;
}

/** Returns the positions of the last records, and how to ask for an answer that includes them. */
function positionLines(position: string, views: readonly string[]): string {
  const [view = "<view>"] = views;
  return `position ${position}\nanswers with all of it: tideline query ${view} --min ${position}\n`;
}

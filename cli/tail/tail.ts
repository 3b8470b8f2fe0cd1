import { once } from "node:events";
import { join } from "node:path";
import type { Stream } from "../../core/contract/stream.ts";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { topicOf, unreachable } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { followTopic } from "../../store/records/follow.ts";
import { type LogStart, spanFrom } from "../../store/records/log-start.ts";
import { openRecordReader, type RecordReader } from "../../store/records/record-reader.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import type { Config } from "../setup/config.ts";
import { inTime } from "../setup/patience.ts";
import { interruptible } from "../terminal/progress.ts";
import { jsonLine, recordLines } from "./lines.ts";

export interface TailOptions {
  readonly start: LogStart;
  /** An SQL condition over the fields. */
  readonly where: string | null;
  /** Ends after this many records; null: does not end. */
  readonly limit: number | null;
  /** Whether to wait for more records at the log's end. */
  readonly follow: boolean;
  readonly format: "table" | "json";
}

/** A topic, and the stream that reads it; null if no stream does. */
interface Source {
  readonly topic: string;
  readonly stream: Stream | null;
}

/** Prints the records of a stream or topic until Ctrl+C. */
export async function tail(config: Config, name: string, options: TailOptions): Promise<void> {
  const log = new LogReader({ brokers: config.kafkaBrokers, clientId: "tideline-tail" });
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, keepsPlans: true });
  const duck = await pool.connect();
  try {
    const source = await findSource(config, log, name);
    const data = new DataDirectory(join(config.home, "data"));
    const schemas = Schemas.withoutTrace(data, openRegistry(data, config.schemaRegistry));
    const reader = await openRecordReader(duck, source.stream, schemas, options.where);
    await interruptible((stop) => print(log, source, reader, { ...options, stop }));
  } finally {
    await inTime(log.close()).catch(() => {});
    duck.closeSync();
    pool.close();
  }
}

/**
 * Returns the stream with this name, or the topic with this name and the stream that reads it. Throws STREAM_UNKNOWN.
 */
async function findSource(config: Config, log: LogReader, name: string): Promise<Source> {
  const { streams } = await loadDefinitions(config);
  const topicOfStream = (stream: Stream) => topicOf(config.namespace, stream);
  const stream = streams.get(name) ?? [...streams.values()].find((one) => topicOfStream(one) === name) ?? null;
  const topic = stream === null ? name : topicOfStream(stream);
  try {
    await log.topic(topic);
  } catch (error) {
    if (!isTidelineError(error, "TOPIC_MISSING"))
      throw isTidelineError(error) ? error : unreachable(config.kafkaBrokers, error);
    if (stream !== null) throw error;
    const hint = `Take a topic's name as Kafka has it, or one of the streams: ${[...streams.keys()].join(", ")}.`;
    throw new TidelineError("STREAM_UNKNOWN", `there is no stream and no topic "${name}"`, hint);
  }
  return { topic, stream };
}

async function print(
  log: LogReader,
  { topic, stream }: Source,
  reader: RecordReader,
  { start, limit, follow, format, stop }: TailOptions & { readonly stop: AbortSignal },
): Promise<void> {
  const silence = new Silence();
  let left = limit ?? Number.POSITIVE_INFINITY;
  const span = await spanFrom(log, topic, start);
  const grows = follow && start.kind !== "positions";
  const following = { stop, follow, grows, onSilence: (error: Error) => silence.tell(error) };
  for await (const batch of followTopic(log, topic, span, following)) {
    silence.end();
    const records = (await reader.read(batch)).slice(0, left);
    for (const record of records) {
      if (stop.aborted) return;
      const line = format === "json" ? jsonLine(record) : recordLines(record, stream);
      // Waits for a slow reader, so that nothing is buffered here.
      if (!process.stdout.write(line)) await once(process.stdout, "drain", { signal: stop }).catch(() => {});
    }
    left -= records.length;
    if (left === 0) return;
  }
}

/** Reports once on stderr that Kafka does not answer, and once that it answers again. */
class Silence {
  #told = false;

  tell({ message }: Error): void {
    if (!this.#told) process.stderr.write(`Kafka does not answer (${message}); asking again every second\n`);
    this.#told = true;
  }

  end(): void {
    this.#told = false;
  }
}

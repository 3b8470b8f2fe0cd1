import { join } from "node:path";
import type { Stream } from "../../core/contract/stream.ts";
import { positionsBetween } from "../../core/log/position.ts";
import { Budget } from "../../core/query/budget.ts";
import { Archive } from "../../store/archive/archive.ts";
import { FileTimes } from "../../store/archive/file-times.ts";
import { type Quality, qualityHistory, qualityOf } from "../../store/archive/quality.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { DuckPool, rowsOf } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import type { Config } from "../setup/config.ts";
import { findStream } from "../setup/definitions.ts";
import { bytes, instantText, print } from "../terminal/sheet.ts";

interface StreamRow {
  readonly stream: string;
  readonly topic: string;
  readonly revision: number;
  readonly partitions: number;
  /** Records and bytes of the archive. */
  readonly archived: Quality & { readonly sizeBytes: number; readonly files: number };
  /** How many positions the archive is behind the log; not a count of records. */
  readonly positionsBehind: number;
  readonly problem?: string;
}

/** Prints the position and the quality of every stream. */
export async function listStreams(config: Config, json: boolean): Promise<void> {
  const { streams } = await loadDefinitions(config);
  const rows = await withLog(config, (log) => Promise.all([...streams.values()].map((one) => row(config, log, one))));
  const sheet = {
    head: ["stream", "topic", "contract", "partitions", "records", "archive", "files", "behind", "quality"],
    right: ["partitions", "records", "archive", "files", "behind", "quality"],
    rows: rows.map(({ stream, topic, revision, partitions, archived, positionsBehind, problem }) => [
      stream,
      problem === undefined ? topic : `${topic}\n! ${problem}`,
      `revision ${revision}`,
      `${partitions}`,
      archived.records.toLocaleString("en-US"),
      bytes(archived.sizeBytes),
      `${archived.files}`,
      `${positionsBehind}`,
      percent(archived.score),
    ]),
  };
  await print(json, rows, sheet, "no streams: no view reads one");
}

/** Prints a stream's quality over time. */
export async function showQuality(
  config: Config,
  name: string,
  { everyMs, from, json }: { readonly everyMs: number; readonly from: number; readonly json: boolean },
): Promise<void> {
  const stream = await findStream(config, name);
  const topic = topicOf(config.namespace, stream);
  const data = new DataDirectory(join(config.home, "data"));
  const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 512, directories: [data.root] });
  try {
    const duck = await pool.connect();
    const { id } = await withLog(config, (log) => log.topic(topic));
    const rows = (sql: string) => rowsOf(duck, sql);
    const stores = { archive: new Archive(data), data, rows, times: new FileTimes(), budget: Budget.unlimited() };
    const spans = await qualityHistory(stores, topic, id, { from, to: Date.now(), everyMs });
    const shown = spans.map((span) => ({ ...span, from: instantText(span.from) }));
    const sheet = {
      head: ["from", "records", "duplicates", "refused", "quality", "why"],
      right: ["records", "duplicates", "refused", "quality"],
      rows: shown.map((span) => [
        span.from,
        span.records.toLocaleString("en-US"),
        `${span.duplicates}`,
        `${span.rejects}`,
        percent(span.score),
        Object.entries(span.reasons)
          .map(([reason, count]) => `${reason} ${count}`)
          .join(", "),
      ]),
    };
    await print(json, shown, sheet, "nothing was archived in that time");
    duck.closeSync();
  } finally {
    pool.close();
  }
}

async function withLog<T>({ kafkaBrokers }: Config, work: (log: LogReader) => Promise<T>): Promise<T> {
  const log = new LogReader({ brokers: kafkaBrokers, clientId: "tideline-streams" });
  try {
    return await work(log);
  } finally {
    await log.close();
  }
}

async function row(config: Config, log: LogReader, stream: Stream): Promise<StreamRow> {
  const { name, revision, partitions } = stream;
  const topic = topicOf(config.namespace, stream);
  const facts = { stream: name, topic, revision, partitions };
  try {
    const { id } = await log.topic(topic);
    const { stable } = await log.readableBounds(topic);
    const archive = new Archive(new DataDirectory(join(config.home, "data")));
    return {
      ...facts,
      archived: await archivedOf(archive, topic, id),
      positionsBehind: Number(positionsBetween(await archive.archived(topic, id), stable)),
    };
  } catch (error) {
    const nothing = { records: 0, duplicates: 0, rejects: 0, score: null, sizeBytes: 0, files: 0 };
    return { ...facts, archived: nothing, positionsBehind: 0, problem: (error as Error).message };
  }
}

async function archivedOf(archive: Archive, topic: string, topicId: string): Promise<StreamRow["archived"]> {
  let [sizeBytes, files] = [0, 0];
  for (const partition of await archive.partitions(topic)) {
    for (const entry of await archive.entries(topic, topicId, partition)) {
      sizeBytes += entry.sizeBytes;
      files += entry.file === null ? 0 : 1;
    }
  }
  return { ...(await qualityOf(archive, topic, topicId)), sizeBytes, files };
}

/** Returns 0.99987 as "99.99 %". Rounds down, so that only a perfect score shows as 100 %. */
function percent(score: number | null): string {
  return score === null ? "-" : `${(Math.floor(score * 10_000) / 100).toFixed(2)} %`;
}

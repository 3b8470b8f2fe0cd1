import type { DuckDBValue } from "@duckdb/node-api";
import { z } from "zod";
import type { Stream } from "../../core/contract/stream.ts";
import { isTidelineError } from "../../core/errors.ts";
import { count, list } from "../../core/json-parts.ts";
import type { EpochMs } from "../../core/log/position.ts";
import { ANSWER_LIMITS, Budget } from "../../core/query/budget.ts";
import type { Archive } from "../../store/archive/archive.ts";
import { FileTimes } from "../../store/archive/file-times.ts";
import {
  Quality,
  type QualitySpan,
  type QualityWindow,
  qualityHistory,
  qualityOf,
} from "../../store/archive/quality.ts";
import type { DataDirectory } from "../../store/files/files.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import type { LogReader } from "../../store/kafka/read/log.ts";
import type { DuckQueue } from "../read/batch/duck-queue.ts";

export interface StreamQualitySources {
  readonly streams: ReadonlyMap<string, Stream>;
  readonly namespace: string;
  readonly archive: Archive;
  readonly data: DataDirectory;
  /** A queue of its own, so that scans of the archive do not take the connections that answers need. */
  readonly ducks: DuckQueue;
  /** The most archived records that one request may read. */
  readonly maxRecords: number;
  readonly log: LogReader;
}

/** A stream as `GET /streams` shows it. */
const StreamSummary = z.object({
  stream: z.string(),
  topic: z.string(),
  revision: count,
  partitions: count,
  quality: Quality.nullable().describe("of what is archived; null when the topic does not exist"),
});
type StreamSummary = z.infer<typeof StreamSummary>;

/** The answer of GET /streams. */
export const StreamsBody = z.object({ streams: list(StreamSummary) });
export type StreamsBody = z.infer<typeof StreamsBody>;

/** The answer of GET /streams/:name/quality. Spans without records are left out. */
export const StreamQualityBody = z.object({
  stream: z.string(),
  from: z.string(),
  to: z.string(),
  spans: list(Quality.extend({ from: z.string(), reasons: z.record(z.string(), count) })),
});
export type StreamQualityBody = z.infer<typeof StreamQualityBody>;

/** The quality of the streams' records, from the archive. */
export class StreamQuality {
  readonly streams: ReadonlyMap<string, Stream>;
  readonly #sources: StreamQualitySources;
  readonly #times = new FileTimes();

  constructor(sources: StreamQualitySources) {
    this.streams = sources.streams;
    this.#sources = sources;
  }

  all(): Promise<StreamSummary[]> {
    const { archive, log, namespace } = this.#sources;
    return Promise.all(
      [...this.streams.values()].map(async (stream) => {
        const { name, revision, partitions } = stream;
        const topic = topicOf(namespace, stream);
        const quality = await log
          .topic(topic)
          .then(({ id }) => qualityOf(archive, topic, id))
          .catch((error: unknown) => {
            if (isTidelineError(error, "TOPIC_MISSING")) return null;
            throw error;
          });
        return { stream: name, topic, revision, partitions, quality };
      }),
    );
  }

  /** Throws TOPIC_MISSING and OverBudget. */
  async history(stream: Stream, window: QualityWindow): Promise<QualitySpan[]> {
    const { archive, data, ducks, log, namespace, maxRecords } = this.#sources;
    const topic = topicOf(namespace, stream);
    const { id } = await log.topic(topic);
    const rows = async (sql: string) => {
      const found: DuckDBValue[][] = [];
      await ducks.read(sql, [], function* (columns) {
        for (const [row] of (columns[0] ?? []).entries()) found.push(columns.map((column) => column[row] ?? null));
        yield columns[0]?.length ?? 0;
      });
      return found;
    };
    const budget = new Budget({ ...ANSWER_LIMITS, rows: maxRecords });
    return qualityHistory({ archive, data, rows, times: this.#times, budget }, topic, id, window);
  }
}

/** The default window: this long until now. */
export const QUALITY_WINDOW_MS: EpochMs = 7 * 86_400_000;

import type { Stream } from "../../core/contract/stream.ts";
import { streamDocument } from "../../core/contract/stream-document.ts";
import { at, type Cut, type CutJson, cutToJson, partitionsOf } from "../../core/log/position.ts";
import { decodeOriginals } from "../decode/decode-originals.ts";
import { Decoder } from "../decode/decoder.ts";
import { eventColumns, eventNames } from "../decode/events.ts";
import { foreignSpans } from "../decode/originals.ts";
import { type DedupSources, warmDedup } from "../decode/warm-dedup.ts";
import type { Duck, DuckPool } from "../duckdb/duck.ts";
import type { LogReader } from "../kafka/read/log.ts";
import type { LogSpan } from "../records/log-start.ts";

export interface CheckSources extends DedupSources {
  readonly log: LogReader;
  readonly pool: DuckPool;
}

export interface ReadSpan {
  readonly topic: string;
  readonly topicId: string;
  /** The start of the log. Earlier records are read from the archive. */
  readonly start: Cut;
  readonly span: LogSpan;
}

/** The number and the positions of the records that were compared. */
export interface ReadRecords {
  readonly records: number;
  readonly from: CutJson;
  readonly to: CutJson;
}

const FETCH_BYTES = 4 * 1024 * 1024;

/** The table with one span of the archive. */
const ARCHIVED = "archived_span";

/** A table that is being filled with the records as a stream's contract reads them. */
interface Filling {
  readonly duck: Duck;
  readonly table: string;
  readonly stream: Stream;
  /** Called with the number of records that were just read. */
  readonly count: (records: number) => void;
}

/** The number of tables that readings have made in this process. */
let made = 0;

/**
 * The records of one span of a topic, as several contracts read them: a table of the pool's database for each contract.
 */
export class Readings {
  readonly #sources: CheckSources;
  readonly #read: ReadSpan;
  readonly #signal: AbortSignal;
  readonly #onRecords: (records: number) => void;
  readonly #tables = new Map<string, string>();
  #records = 0;

  constructor(
    sources: CheckSources,
    read: ReadSpan,
    { signal, onRecords }: { signal: AbortSignal; onRecords: (records: number) => void },
  ) {
    this.#sources = sources;
    this.#read = read;
    this.#signal = signal;
    this.#onRecords = onRecords;
  }

  /** The number and the positions of the records read, the same for every contract. */
  get read(): ReadRecords {
    const { from, to } = this.#read.span;
    return { records: this.#records, from: cutToJson(from), to: cutToJson(to) };
  }

  /**
   * Returns the name of the table with a contract's reading. It has the columns of `eventColumns`. Throws as
   * `warmDedup` and `log.read`.
   */
  async by(stream: Stream): Promise<string> {
    const key = JSON.stringify(streamDocument(stream));
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    // A number, because the names of topics may differ only in case, and names of tables ignore case.
    const table = `reading_${++made}`;
    this.#tables.set(key, table);
    await this.#fill(table, stream);
    return table;
  }

  async #fill(table: string, stream: Stream): Promise<void> {
    const { log, pool, schemas } = this.#sources;
    const { topic, topicId, start, span } = this.#read;
    const duck = await pool.connect();
    let records = 0;
    const count = (more: number) => {
      records += more;
      this.#onRecords(more);
    };
    try {
      await duck.run(`CREATE OR REPLACE TABLE ${table} (${eventColumns(stream)})`);
      const decoder = await Decoder.open(duck, stream, schemas);
      for (const partition of partitionsOf(span.to)) {
        const [begin, logged, to] = [at(span.from, partition), at(start, partition), at(span.to, partition)];
        const from = begin < logged ? logged : begin;
        if (begin < from) await this.#fillArchived({ duck, table, stream, count }, partition);
        if (from >= to) continue;
        await warmDedup(this.#sources, decoder, { stream, topic, topicId, partition, before: from });
        for await (const fetched of log.read(
          topic,
          { partition, from, to },
          { maxBytes: FETCH_BYTES, signal: this.#signal },
        )) {
          if (fetched.records.length === 0) continue;
          const { relation } = await decoder.decode([fetched]);
          await duck.run(`INSERT INTO ${table} BY NAME SELECT * FROM ${relation}`);
          count(fetched.records.length);
        }
      }
      this.#records = records;
    } finally {
      duck.closeSync();
    }
  }

  /** Reads the archived records that the log does not have any more, from their original bytes. */
  async #fillArchived({ duck, table, stream, count }: Filling, partition: number): Promise<void> {
    const { topic, topicId, start, span } = this.#read;
    const archived = { partition, from: at(span.from, partition), to: at(start, partition) };
    const covering = await this.#sources.archive.covering(topic, topicId, archived);
    const spans = foreignSpans(covering, { revision: null }, archived);
    await duck.run(`DROP TABLE IF EXISTS ${ARCHIVED}`);
    const originals = { stream, topic, topicId, spans, table: ARCHIVED };
    await decodeOriginals(this.#sources, duck, originals, { signal: this.#signal, onRecords: count });
    await duck.run(`INSERT INTO ${table} BY NAME SELECT ${eventNames(stream)} FROM ${ARCHIVED}`);
  }
}

import { at, type Cut, farthest, partitionsOf } from "../../core/log/position.ts";
import type { Duck } from "../duckdb/duck.ts";
import { eventColumns } from "./events.ts";
import { type SpanSource, spanColumns, spanParts } from "./span-events.ts";
import type { DedupSources } from "./warm-dedup.ts";

/** A stream's records in this installation, from `start` on. */
export interface RawSource extends SpanSource {
  readonly start: Cut;
}

export interface RawReading {
  readonly signal: AbortSignal;
  /** Whether archived records are decoded again from their original bytes. Otherwise the archived columns are read. */
  readonly decodeAgain: boolean;
  readonly onRecords: (records: number) => void;
  readonly pieceBytes?: number;
}

/**
 * Every record of a topic from a position on, decoded. The events in memory grow as `reach` goes further. It has a
 * DuckDB connection of its own.
 */
export class RawEvents {
  readonly #sources: DedupSources;
  readonly #duck: Duck;
  readonly #source: RawSource;
  readonly #reading: RawReading;
  readonly #parts: string[] = [];
  #reached: Cut;

  private constructor(sources: DedupSources, duck: Duck, source: RawSource, reading: RawReading) {
    this.#sources = sources;
    this.#duck = duck;
    this.#source = source;
    this.#reached = source.start;
    this.#reading = reading;
  }

  static async open(sources: DedupSources, duck: Duck, source: RawSource, reading: RawReading): Promise<RawEvents> {
    const events = new RawEvents(sources, duck, source, reading);
    await duck.run(`CREATE TEMP TABLE raw_0 (${eventColumns(source.stream)})`);
    events.#parts.push(`SELECT ${spanColumns(source.stream)} FROM raw_0`);
    return events;
  }

  /** Reads on up to `to`, if that is further. Throws as `spanParts`. */
  async reach(to: Cut): Promise<void> {
    const further = farthest(this.#reached, to);
    const { stream } = this.#source;
    const { archived, tables } = await spanParts(
      this.#sources,
      this.#duck,
      { ...this.#source, from: this.#reached, to: further },
      this.#reading,
    );
    if (archived !== null) this.#parts.push(archived);
    for (const table of tables) {
      const name = `raw_${this.#parts.length}`;
      await this.#duck.run(`ALTER TABLE ${table} RENAME TO ${name}`);
      this.#parts.push(`SELECT ${spanColumns(stream)} FROM ${name}`);
    }
    this.#reached = further;
  }

  /** SQL: the events below `cut`. Call `reach` with the cut before. */
  below(cut: Cut): string {
    const spans = [...cut].map(([partition, to]) => `(_partition = ${partition} AND _offset < ${to})`);
    return `(SELECT * FROM (${this.#parts.join(" UNION ALL ")}) WHERE ${spans.join(" OR ") || "false"})`;
  }
}

/**
 * Returns the approximate number of records in a span: exact for the archived part, and for the rest the number of
 * positions.
 */
export async function spanRecords(
  { archive }: Pick<DedupSources, "archive">,
  { topic, topicId }: Pick<SpanSource, "topic" | "topicId">,
  from: Cut,
  to: Cut,
): Promise<number> {
  let records = 0;
  for (const partition of partitionsOf(from, to)) {
    let end = at(from, partition);
    for (const entry of await archive.entries(topic, topicId, partition)) {
      if (entry.to <= end || entry.from >= at(to, partition)) continue;
      records += entry.records;
      end = entry.to;
    }
    if (end < at(to, partition)) records += Number(at(to, partition) - end);
  }
  return records;
}

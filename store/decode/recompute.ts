import { quoteText } from "../../core/contract/sql.ts";
import type { View } from "../../core/definition/view.ts";
import type { StateFile } from "../../core/log/documents.ts";
import type { Cut } from "../../core/log/position.ts";
import { stateSql } from "../../core/state/compile.ts";
import { type DuckPool, rowsOf } from "../duckdb/duck.ts";
import { type SpanReading, type SpanSource, spanEvents } from "./span-events.ts";
import type { DedupSources } from "./warm-dedup.ts";

export interface RecomputeSources extends DedupSources {
  readonly pool: DuckPool;
}

export interface RecomputeSpan extends Omit<SpanSource, "stream"> {
  readonly view: View;
  readonly from: Cut;
  readonly to: Cut;
}

/**
 * Recomputes the states of `[from, to)` of a view from the archive and the log, by the SQL of both layers, into a
 * Parquet file in `folder`. Null when there are no states. Errors as `spanEvents`. If a recomputation fails, its file
 * is deleted.
 */
export async function recomputeStates(
  sources: RecomputeSources,
  { view, from, to, ...source }: RecomputeSpan,
  folder: string,
  reading: SpanReading,
): Promise<StateFile | null> {
  const { data, pool } = sources;
  const { signal } = reading;
  const file = await data.attempt(folder, view.name, "parquet");
  const duck = await pool.connect();
  const interrupt = () => duck.interrupt();
  signal.addEventListener("abort", interrupt, { once: true });
  try {
    const events = await spanEvents(sources, duck, { ...source, stream: view.stream, from, to }, reading);
    if (events === null) return null;
    const copied = await rowsOf(
      duck,
      `COPY (${stateSql(view, events)}) TO ${quoteText(data.path(file))} (FORMAT parquet, COMPRESSION zstd)`,
    );
    const rows = Number(copied[0]?.[0] ?? 0);
    if (rows > 0) return { file, rows, ...(await data.settle(file)) };
    await data.remove(file);
    return null;
  } catch (error) {
    await data.remove(file);
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", interrupt);
    duck.closeSync();
  }
}

import { z } from "zod";
import { countedCondition } from "../../core/definition/counted.ts";
import { count, cut, list } from "../../core/json-parts.ts";
import { type Cut, cutToJson } from "../../core/log/position.ts";
import { shownGroupValue } from "../../core/measures/decimals.ts";
import { recordSql, showRecord } from "../../core/measures/kinds/latest.ts";
import { AnyRow, type Row } from "../../core/query/present.ts";
import { type TableKey, type TableQuestion, tableRow } from "../../core/query/tables/table-query.ts";
import type { Manifests } from "../../store/archive/manifests.ts";
import { RawEvents } from "../../store/decode/raw-events.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";
import { plainRows } from "../../store/duckdb/plain-rows.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import { positionGone } from "../read/recomputations.ts";
import { LogWork, type LogWorkOptions } from "./log-work.ts";

/**
 * This much of the log beyond the archive is decoded at once. Smaller pieces take twice the time; larger ones block the
 * event loop for longer.
 */
const PIECE_BYTES = 2 * 1024 * 1024;

/** One event of a key. */
export const KeyEvent = z.object({
  partition: count,
  offset: z.string(),
  verdict: z
    .enum(["counted", "filtered", "duplicate"])
    .describe(
      "whether the table counts it: a second record of one event is a duplicate, and one that where leaves out " +
        "is filtered",
    ),
  event: AnyRow,
});
export type KeyEvent = z.infer<typeof KeyEvent>;

export const KeyHistory = z.object({
  events: list(KeyEvent).describe("in the order of the log, the newest ones"),
  truncated: z.boolean(),
  applied: cut,
});
export type KeyHistory = z.infer<typeof KeyHistory>;

interface Asked {
  readonly definition: Definition;
  /** The positions up to which the log is read. */
  readonly at: Cut;
  readonly signal: AbortSignal;
}

interface KeyHistoriesOptions extends Omit<LogWorkOptions, "called"> {
  readonly manifests: Manifests;
  readonly namespace: string;
}

/** Reads the events of single keys, from the archive and then from the log, and computes a row from them. */
export class KeyHistories {
  readonly #options: KeyHistoriesOptions;
  readonly #work: LogWork;

  constructor(options: KeyHistoriesOptions) {
    this.#options = options;
    this.#work = new LogWork({ ...options, called: "history" });
  }

  /** Returns the newest `limit` events of a key below a position. Throws as `LogWork.run`. */
  history({ definition, at, signal }: Asked, key: TableKey, limit: number): Promise<KeyHistory> {
    const { view } = definition;
    return this.#work.run(signal, async (duck, ended) => {
      const events = await this.#events(duck, definition, at, ended);
      const { fields } = view.stream;
      const same = Object.values(view.by).map(({ text }, index) => `CAST((${text}) AS VARCHAR) = $${index + 1}`);
      const columns = [
        "_partition",
        "_offset::VARCHAR",
        "CASE WHEN _duplicate THEN 'duplicate' WHEN " +
          `${countedCondition(view) ?? "true"} THEN 'counted' ELSE 'filtered' END`,
        `to_json(${recordSql(fields)})::VARCHAR`,
      ];
      const sql =
        `SELECT ${columns.join(", ")} FROM ${events} WHERE _reject IS NULL AND ` +
        `${same.join(" AND ")} ORDER BY _partition DESC, _offset DESC LIMIT ${limit + 1}`;
      const rows = await rowsOf(duck, sql, [...key]);
      const found = rows.map(
        ([partition, offset, verdict, record]): KeyEvent => ({
          partition: Number(partition),
          offset: String(offset),
          verdict: String(verdict) as KeyEvent["verdict"],
          event: showRecord(fields, String(record)),
        }),
      );
      return { events: found.slice(0, limit).reverse(), truncated: found.length > limit, applied: cutToJson(at) };
    });
  }

  /**
   * Returns the row of a key, computed by plain SQL from all of its events below a position; null if there is none.
   * Throws as `LogWork.run`.
   */
  replay({ definition, at, signal }: Asked, { query, columns }: TableQuestion): Promise<Row | null> {
    const { view } = definition;
    return this.#work.run(signal, async (duck, ended) => {
      const events = await this.#events(duck, definition, at, ended);
      const range = { fromMs: query.fromMs ?? 0, toMs: query.toMs ?? 0 };
      const [found] = await plainRows(duck, { view, query, range, events });
      if (found === undefined) return null;
      const key = query.by.map((name, index) => [name, shownGroupValue(view, name, found.group[index] ?? null)]);
      const measured = query.measures.map((name) => [
        name,
        view.measures[name]?.plain.present(found.found(name)) ?? null,
      ]);
      return tableRow(view, Object.fromEntries([...key, ...measured]) as Row, columns);
    });
  }

  /** SQL: all events of the table's stream below `at`, from the start of its generation. */
  async #events(duck: Duck, { view, generation }: Definition, at: Cut, signal: AbortSignal): Promise<string> {
    const { manifests, sources, namespace } = this.#options;
    const genesis = await manifests.version(generation, 0);
    if (genesis === null) throw positionGone("where this generation of the table begins is not known any more");
    const source = { stream: view.stream, topic: topicOf(namespace, view.stream), topicId: genesis.topicId };
    const reading = { signal, decodeAgain: false, onRecords: () => {}, pieceBytes: PIECE_BYTES };
    const events = await RawEvents.open(sources, duck, { ...source, start: genesis.cut }, reading);
    await events.reach(at);
    return events.below(at);
  }

  /** Ends the running work. */
  close(): Promise<void> {
    return this.#work.close();
  }
}

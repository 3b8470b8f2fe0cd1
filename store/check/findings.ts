import { type Duck, rowsOf } from "../duckdb/duck.ts";

/** A record for which a changed definition has another result than the running one. */
export interface FoundRecord {
  /** `partition:offset`. */
  readonly position: string;
  /** Null if neither contract accepts the record. */
  readonly eventId: string | null;
  /** The result of the running definition. Null: none. */
  readonly before: unknown;
  readonly after: unknown;
}

/** Records that differ in one way. */
export interface Finding<K extends string> {
  readonly kind: K;
  /** The reason, or the part that differs. */
  readonly detail: string;
  readonly records: number;
  /** The first of these records. */
  readonly examples: readonly FoundRecord[];
}

const EXAMPLES = 5;
/** The most details of one kind that are reported apart. */
const MOST_DETAILS = 50;

/**
 * Returns the findings of one kind, those with the most records first. `rows` is SQL of (detail, _partition, _offset,
 * id, before, after), before and after as JSON text or NULL.
 */
export async function findings<K extends string>(duck: Duck, kind: K, rows: string): Promise<Finding<K>[]> {
  const place = "row_number() OVER (PARTITION BY detail ORDER BY _partition, _offset) AS place";
  const counted = `SELECT *, count(*) OVER (PARTITION BY detail) AS found, ${place} FROM (${rows})`;
  const columns = "detail, found, _partition, _offset, id, before, after";
  const sql = `SELECT ${columns} FROM (${counted}) WHERE place <= ${EXAMPLES} ORDER BY found DESC, detail, place`;
  const result = new Map<string, { found: number; examples: FoundRecord[] }>();
  for (const [detail, found, partition, offset, id, before, after] of await rowsOf(duck, sql)) {
    const held = result.get(String(detail)) ?? { found: Number(found), examples: [] };
    held.examples.push({
      position: `${partition}:${offset}`,
      eventId: id === null ? null : String(id),
      before: before === null ? null : JSON.parse(String(before)),
      after: after === null ? null : JSON.parse(String(after)),
    });
    result.set(String(detail), held);
  }
  return [...result]
    .slice(0, MOST_DETAILS)
    .map(([detail, { found, examples }]) => ({ kind, detail, records: found, examples }));
}

import type { PlainFound } from "../../core/measures/measure.ts";
import { Registers } from "../../core/numbers/hll.ts";
import {
  type PlainQuery,
  type PlainSql,
  plainAggregates,
  plainColumns,
  plainItems,
  plainKey,
  plainRegisters,
} from "../../core/proof/plain.ts";
import type { PlainRow } from "../../core/proof/proof.ts";
import { type GroupValue, groupValue } from "../../core/state/cells.ts";
import { type Duck, rowsOf } from "./duck.ts";

interface Gathering {
  readonly key: readonly unknown[];
  readonly aggregates: ReadonlyMap<string, unknown>;
  readonly items: Map<string, [string, bigint][]>;
  readonly registers: Map<string, Registers>;
}

/** Returns the rows of a query, computed by plain SQL. */
export async function plainRows(duck: Duck, wanted: PlainQuery): Promise<PlainRow[]> {
  const { columns: key, sessions } = plainKey(wanted);
  const asked = plainColumns(wanted);
  const aggregates = [...asked].flatMap(([name, { form }]) => (form === "aggregate" ? [name] : []));
  const rows = new Map<string, Gathering>();
  for (const row of await run(duck, plainAggregates(wanted)))
    rows.set(keyText(row.slice(0, key.length)), {
      key: row.slice(0, key.length),
      aggregates: new Map(aggregates.map((name, index) => [name, row[key.length + index]])),
      items: new Map(),
      registers: new Map(),
    });
  for (const [name, column] of asked) {
    if (column.form === "items") {
      for (const row of await run(duck, plainItems(wanted, column))) {
        const items = rows.get(keyText(row.slice(0, key.length)))?.items;
        const weighed: [string, bigint] = [String(row[key.length]), BigInt(row[key.length + 1] as bigint)];
        if (items?.get(name)?.push(weighed) === undefined) items?.set(name, [weighed]);
      }
    } else if (column.form === "registers") {
      for (const row of await run(duck, plainRegisters(wanted, column)))
        rows.get(keyText(row.slice(0, key.length)))?.registers.set(name, registersOf(row[key.length]));
    }
  }
  return [...rows.values()].map((row) => plainRow(row, sessions));
}

async function run(duck: Duck, { sql, values }: PlainSql): Promise<unknown[][]> {
  return rowsOf(duck, sql, [...values]);
}

function plainRow({ key, aggregates, items, registers }: Gathering, sessions: boolean): PlainRow {
  return {
    bucket: Number(key[0]),
    ended: sessions ? Number(key[1]) : null,
    group: key.slice(sessions ? 2 : 1).map((value): GroupValue => groupValue(value)),
    found: (measure): PlainFound => ({
      aggregate: (column) => aggregates.get(`${measure}.${column}`),
      items: (column) => items.get(`${measure}.${column}`) ?? [],
      registers: (column) => registers.get(`${measure}.${column}`) ?? new Registers(),
    }),
  };
}

/** Returns registers from `register * 64 + rank` of each register that is set. */
function registersOf(packed: unknown): Registers {
  const registers = new Registers();
  for (const one of (packed as { items: readonly number[] }).items) registers.offer(one >> 6, one & 63);
  return registers;
}

function keyText(key: readonly unknown[]): string {
  return JSON.stringify(key, (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value));
}

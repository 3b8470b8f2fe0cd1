import type { DuckDBValue } from "@duckdb/node-api";
import { componentsOf } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import type { Ledger } from "../../core/log/ledger.ts";
import { ROWS, type StateValue } from "../../core/measures/measure.ts";
import { groupKeyWith, groupValue } from "../../core/state/cells.ts";
import { batchLedgerSql, countedSql, partialItemsSql, partialSql, wide } from "../../core/state/compile.ts";
import { singleLedgerSql } from "../../core/state/single-events.ts";
import type { KeptStatements } from "../../store/duckdb/kept-statements.ts";
import { cellField } from "../../store/redis/chain-state.ts";
import { Gathering, type PartitionStates, packHashes } from "./gathering.ts";
import { statesOfSingles } from "./single-events.ts";

/**
 * DuckDB groups the events of a large batch. Those of a small one are merged here, which costs less. The states are the
 * same.
 */
export type BatchSize = "small" | "large";

/** Up to this many records a batch is small. */
export const SMALL_BATCH_RECORDS = 200;

/** The states that a view makes of a relation of decoded events, by partition. */
export function statesByPartition(
  statements: KeptStatements,
  view: View,
  events: string,
  size: BatchSize,
): Promise<Map<number, PartitionStates>> {
  return size === "small" ? statesOfSingles(statements, view, events) : statesOfCells(statements, view, events);
}

async function statesOfCells(
  statements: KeptStatements,
  view: View,
  events: string,
): Promise<Map<number, PartitionStates>> {
  const all = [...wide(view).entries()];
  const columns = all.filter(([, { form }]) => form !== "registers");
  const registers = all.filter(([, { form }]) => form === "registers");
  const gathered = new Gathering(
    Object.keys(view.by).length,
    columns.map(([, component]) => component),
  );
  const rows = view.each === null ? columns.findIndex(([, { key }]) => key === ROWS.name) : -1;
  for (const chunk of await statements.columns(partialSql(view, events))) {
    for (const { row, partition, delta, key } of gathered.cells(chunk)) {
      const values = columns.map(([index]) => gathered.after(chunk, index, row) as StateValue | null);
      delta.rows.rows.push([key, values]);
      if (rows >= 0) gathered.count(partition, Number(values[rows]));
      for (const [index, component] of registers) {
        const value = gathered.after(chunk, index, row);
        if (value === null) continue;
        const hashes = packHashes((value as { items: readonly bigint[] }).items);
        delta.sketches.push({ field: cellField(component.key, key), hashes });
      }
    }
  }
  for (const component of componentsOf(view).filter(({ form }) => form === "items")) {
    for (const chunk of await statements.columns(partialItemsSql(view, component, events))) {
      for (const { row, delta, key } of gathered.cells(chunk)) {
        const value = gathered.after(chunk, 1, row);
        if (value === null) continue;
        const field = cellField(component.key, groupKeyWith(key, groupValue(gathered.after(chunk, 0, row))));
        delta.values.push({ merge: component.merge, field, value: BigInt(value as bigint) });
      }
    }
  }
  if (view.each !== null) {
    for (const [partition, counted] of await statements.rows(countedSql(view, events)))
      gathered.count(Number(partition), Number(counted));
  }
  return gathered.partitions;
}

/** What became of a batch's records, the same for every view. */
export type BatchLedger = Pick<Ledger, "records" | "duplicates" | "rejects">;

/** What became of the records of a relation of events, by partition. */
export async function batchLedgers(
  statements: KeptStatements,
  events: string,
  size: BatchSize,
): Promise<Map<number, BatchLedger>> {
  return summed(await statements.rows(size === "small" ? singleLedgerSql(events) : batchLedgerSql(events)));
}

function summed(rows: readonly (readonly DuckDBValue[])[]): Map<number, BatchLedger> {
  const ledgers = new Map<number, BatchLedger>();
  for (const [key, records, duplicates, rejects] of rows) {
    const held = ledgers.get(Number(key)) ?? { records: 0, duplicates: 0, rejects: 0 };
    ledgers.set(Number(key), {
      records: held.records + Number(records),
      duplicates: held.duplicates + Number(duplicates),
      rejects: held.rejects + Number(rejects),
    });
  }
  return ledgers;
}

/** A view's ledger: what is valid and not counted was filtered. */
export function ledgerOf(batch: BatchLedger | undefined, counted: number): Ledger {
  const { records, duplicates, rejects } = batch ?? { records: 0, duplicates: 0, rejects: 0 };
  return { records, duplicates, rejects, counted, filtered: records - duplicates - rejects - counted };
}

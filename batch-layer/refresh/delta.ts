import type { View } from "../../core/definition/view.ts";
import type { StateFile } from "../../core/log/documents.ts";
import type { Ledger } from "../../core/log/ledger.ts";
import type { Span } from "../../core/log/spans.ts";
import { ledgerSql, stateSql } from "../../core/state/compile.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";
import { type ArchivedEvents, archivedEvents, type EntryCounts } from "../archive/archived-events.ts";
import { withDuck } from "../duck-run.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";
import { writeStates } from "../versions/state-file.ts";
import type { StatePlace } from "../versions/state-index.ts";

/** The states of a span, computed from the archive. */
export interface Delta {
  /** Null if the view counted nothing. */
  readonly file: StateFile | null;
  readonly ledgers: ReadonlyMap<number, Ledger>;
  readonly entries: ReadonlyMap<number, EntryCounts>;
}

export interface DeltaSpan extends Span {
  readonly topicId: string;
}

/**
 * Step 4 of a settlement (docs/internals/settlement.md): writes the states of `[from, to)` to a new file in `folder`.
 */
export async function writeDelta(
  stores: BatchStores,
  target: ViewTarget,
  { topicId, from, to, folder, prefix }: DeltaSpan & StatePlace,
  watch: Watch,
): Promise<Delta> {
  return withDuck(stores, watch, async (duck) =>
    deltaOf(stores, duck, target.view, {
      events: await archivedEvents(stores, duck, { ...target, topicId, from, to }),
      folder,
      prefix,
    }),
  );
}

/** As `writeDelta`, from events that were already read. */
export async function deltaOf(
  stores: BatchStores,
  duck: Duck,
  view: View,
  { events, folder, prefix }: { readonly events: ArchivedEvents; readonly folder: string; readonly prefix: string },
): Promise<Delta> {
  const { relation, counts } = events;
  if (relation === null) return { file: null, ledgers: new Map(), entries: counts };
  const ledgers = await readLedgers(duck, ledgerSql(view, relation));
  const file = await writeStates(stores, duck, { view, select: stateSql(view, relation) }, { folder, prefix });
  return { file, ledgers, entries: counts };
}

async function readLedgers(duck: Duck, sql: string): Promise<Map<number, Ledger>> {
  const rows = await rowsOf(duck, `SELECT partition, records, duplicates, rejects, counted, filtered FROM (${sql})`);
  return new Map(
    rows.map((row) => {
      const [partition = 0, records = 0, duplicates = 0, rejects = 0, counted = 0, filtered = 0] = row.map(Number);
      return [partition, { records, duplicates, rejects, counted, filtered }];
    }),
  );
}

import { addLedgers, EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { cutsEqual } from "../../core/log/position.ts";
import type { DeadLetters } from "../../store/dead-letters/letter-writer.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import type { Chain } from "../../store/redis/chain.ts";
import type { SharedEvents } from "../archive/archived-events.ts";
import { deltaOf } from "../refresh/delta.ts";
import { checkDelta, finishPublish, publishDelta, REPLACED_BETWEEN } from "../refresh/refresh.ts";
import { sendUnreadDeadLetters } from "../refresh/unread-dead-letters.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";
import { filesToCompact } from "../versions/compact-plan.ts";
import { versionPrefix } from "../versions/publish.ts";
import { removeStates } from "../versions/state-index.ts";
import type { SettlementSpan } from "./plan-settlement.ts";

export interface SettleWork {
  readonly target: ViewTarget;
  readonly chain: Chain;
  readonly span: SettlementSpan;
  readonly topicId: string;
  readonly createdBy: string;
  /** The archived events that contain the span. */
  readonly events: SharedEvents;
  readonly letters: DeadLetters;
}

/** The result for one generation's span. */
export interface SettledView {
  readonly version: number;
  /** False: another writer was first. */
  readonly published: boolean;
  readonly records: number;
  /** Whether there was a ledger of the speed layer to compare with; null if an earlier attempt compared. */
  readonly compared: boolean | null;
  /** Whether it has enough small files for a compaction. The name is that of earlier releases' results. */
  readonly foldable: boolean;
  /** How many files of old versions were deleted. */
  readonly swept: number;
}

/**
 * Steps 4 to 7 of a settlement (docs/internals/settlement.md) for one generation: computes its states from the events
 * of `[C, B)`, checks the ledgers, publishes version V+1, and moves the pointer. If a run was killed and calls this
 * again, it continues where it was. Throws LEDGER_UNBALANCED and the errors of its steps; nothing is published then.
 */
export async function settleView(
  stores: BatchStores,
  duck: Duck,
  { target, chain, span, topicId, createdBy, events, letters }: SettleWork,
  watch: Watch,
): Promise<SettledView> {
  const { generation, version, from, to } = span;
  for (let after = version + 1; after <= version + REPLACED_BETWEEN; after++) {
    const next = await stores.manifests.version(generation, after);
    if (next === null) break;
    if (next.createdBy !== createdBy || !cutsEqual(next.cut, to)) continue;
    // An earlier attempt of this run has published it.
    const { swept } = await finishPublish(stores, target, chain, after);
    const before = await stores.manifests.version(generation, version);
    const records = next.ledger.records - (before?.ledger.records ?? 0);
    return {
      version: after,
      published: true,
      records,
      compared: null,
      foldable: filesToCompact(next.files).length > 0,
      swept,
    };
  }
  const delta = await deltaOf(stores, duck, target.view, {
    events: await events.within(from, to),
    folder: stores.manifests.stateFolder(generation),
    prefix: versionPrefix(version + REPLACED_BETWEEN),
  });
  let compared: boolean;
  try {
    compared = await checkDelta(stores, target, chain, { from, to, ...delta });
    if (!compared) await sendUnreadDeadLetters(stores, letters, { ...target, topicId, from, to }, watch);
  } catch (error) {
    if (delta.file !== null) await removeStates(stores.data, delta.file);
    throw error;
  }
  watch.signal.throwIfAborted();
  const ledger = [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
  const publication = { version, from, to, file: delta.file, ledger, createdBy };
  const { records } = ledger;
  const published = await publishDelta(stores, target, publication);
  if (published === null) return { version, published: false, records: 0, compared, foldable: false, swept: 0 };
  const { swept } = await finishPublish(stores, target, chain, published);
  const files = (await stores.manifests.version(generation, published))?.files ?? [];
  return { version: published, published: true, records, compared, foldable: filesToCompact(files).length > 0, swept };
}

import type { Manifest } from "../../core/log/documents.ts";
import type { Cut, EpochMs } from "../../core/log/position.ts";
import type { Budget } from "../../core/query/budget.ts";
import type { PresentedRows } from "../../core/query/present.ts";
import type { Cell } from "../../core/state/cells.ts";
import type { ChainState } from "../../store/redis/chain-state.ts";
import type { StoredTile } from "./cells/tile-cells.ts";
import type { SegmentTile } from "./live/segment-cache.ts";
import type { ViewStatus } from "./live/view-status.ts";

/** What a reader reads, as values: the tiles of an answer, and the cells that they make together. */

/**
 * The merged cells of a query's own buckets and dimensions, and where they stand. For sliding windows these are the
 * buckets before they are slid, for a view of sessions whole sessions.
 */
export interface Reading extends ViewStatus {
  readonly cells: readonly Cell[];
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
  /**
   * The newest bucket that the view holds, when it begins after now and the query does not say up to when it asks; else
   * null.
   */
  readonly laterMs: EpochMs | null;
  /**
   * The same position may have another window later: the query does not say up to when it asks, and what is newest
   * until now depends on now.
   */
  readonly movesWithClock: boolean;
  /** What reading them cost; presenting them counts too. */
  readonly budget: Budget;
  /** These are not all cells, but those among which the first ones of the order that was asked for are. */
  readonly firstOnly: boolean;
}

export interface ReadAnswer extends Omit<Reading, "cells" | "budget" | "firstOnly">, PresentedRows {}

/** The event time that an answer is about. */
export type Window = Pick<Reading, "fromMs" | "toMs" | "laterMs" | "movesWithClock">;

/** The live side of an answer: everything that follows the batch version's cut. */
export interface Live {
  readonly chain: ChainState;
  readonly applied: Cut;
  readonly closed: readonly SegmentTile[];
  /** Names the closed segments: the same name, the same tiles. */
  readonly closedName: string;
  readonly open: readonly StoredTile[];
  readonly window: Window;
}

/** The batch version and the segments that an answer is made of. Together they cover the log once. */
export interface Tiles {
  readonly manifest: Manifest;
  /** Null for a batch version alone. */
  readonly live: Pick<Live, "closed" | "closedName" | "open"> | null;
  readonly status: ViewStatus;
  readonly window: Window;
}

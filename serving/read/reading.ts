import type { Manifest } from "../../core/log/documents.ts";
import type { Cut, EpochMs } from "../../core/log/position.ts";
import type { Budget } from "../../core/query/budget.ts";
import type { PresentedRows } from "../../core/query/present.ts";
import type { Cell } from "../../core/state/cells.ts";
import type { ChainState } from "../../store/redis/chain-state.ts";
import type { StoredTile } from "./cells/tile-cells.ts";
import type { SegmentTile } from "./live/segment-cache.ts";
import type { ViewStatus } from "./live/view-status.ts";

/** The values that a reader reads: the tiles of an answer, and the cells that they make together. */

/**
 * The merged cells of a query, in its own buckets and dimensions, and their position. For sliding windows these are the
 * buckets before they are combined to windows; for a view of sessions, whole sessions.
 */
export interface Reading extends ViewStatus {
  readonly cells: readonly Cell[];
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
  /** The newest bucket of the view, if it begins after now and the query has no `to`; else null. */
  readonly laterMs: EpochMs | null;
  /**
   * Whether the window of the same position may change with time. This is so if the query has no `to`, and the newest
   * bucket until now depends on the clock.
   */
  readonly movesWithClock: boolean;
  /** The cost of reading the cells. Presenting them counts too. */
  readonly budget: Budget;
  /** Whether these are not all cells, but only some that include the first ones of the requested order. */
  readonly firstOnly: boolean;
}

export interface ReadAnswer extends Omit<Reading, "cells" | "budget" | "firstOnly">, PresentedRows {}

/** The range of event time that an answer is about. */
export type Window = Pick<Reading, "fromMs" | "toMs" | "laterMs" | "movesWithClock">;

/** The live part of an answer: everything after the batch version's cut. */
export interface Live {
  readonly chain: ChainState;
  readonly applied: Cut;
  readonly closed: readonly SegmentTile[];
  /** A name for the closed segments: equal names mean equal tiles. */
  readonly closedName: string;
  readonly open: readonly StoredTile[];
  readonly window: Window;
}

/** The batch version and the segments of an answer. Together they cover the log exactly once. */
export interface Tiles {
  readonly manifest: Manifest;
  /** Null for an answer from the batch version alone. */
  readonly live: Pick<Live, "closed" | "closedName" | "open"> | null;
  readonly status: ViewStatus;
  readonly window: Window;
}

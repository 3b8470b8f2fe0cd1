import { TidelineError } from "../../core/errors.ts";
import type { Ledger } from "../../core/log/ledger.ts";
import type { Cut, EpochMs, Position } from "../../core/log/position.ts";
import { tilesFrom } from "../../core/log/spans.ts";
import type { Merge, StateValue } from "../../core/measures/measure.ts";
import type { GroupKey } from "../../core/state/cells.ts";
import type { Mark } from "../kafka/read/marks.ts";

/** The parts of a generation's chain, and the arguments and replies of its scripts. */

/** A segment of the chain. `to` is null while it is open. */
export interface Segment {
  readonly id: string;
  readonly from: Cut;
  readonly to: Cut | null;
  /** The version whose refresh sealed it. Null when it was sealed for size. */
  readonly token: string | null;
  /** The number of its cells. Null while it is open. */
  readonly cells: number | null;
}

/**
 * The identity of a segment's state, which never changes and depends only on the log. The id alone does not identify
 * it: a Redis that was restored to an earlier moment closes the segment with that id at other positions.
 */
export type ClosedSegment = Pick<Segment, "id" | "from"> & { readonly to: Cut };

/** Returns the closed segments of a run. */
export function closedOf<T extends Pick<Segment, "id" | "from" | "to">>(
  segments: readonly T[],
): (T & { readonly to: Cut })[] {
  return segments.filter((segment): segment is T & { readonly to: Cut } => segment.to !== null);
}

export interface ChainState {
  /** Identifies the chain, its applied positions and all its cells: the same digest means the same state. */
  readonly digest: string;
  readonly nonce: string;
  /** The id of the topic of its positions. Empty when unknown. */
  readonly topicId: string;
  readonly pointer: number;
  /** Oldest first. The last one is open. */
  readonly segments: readonly Segment[];
  readonly applied: Cut;
  /** The number of cells in all segments. */
  readonly cells: number;
  /**
   * The wall-clock time at which `applied` was last known to be the log's end, in the partition that lags most. Null if
   * it never was.
   */
  readonly freshAtMs: EpochMs | null;
}

/** A component of rows. */
export interface RowColumn {
  readonly key: string;
  readonly merge: Merge;
}

/** A group as JSON, and its values in the order of the columns. A value is null where the group has none. */
export type GroupRow = readonly [group: GroupKey, values: readonly (StateValue | null)[]];

export interface GroupRows {
  readonly columns: readonly RowColumn[];
  /** Each group at most once. */
  readonly rows: readonly GroupRow[];
}

/** The cells that one micro-batch adds to one bucket. */
export interface BucketDelta {
  readonly bucket: EpochMs;
  /** Integers, items and picks that are not in `rows`. */
  readonly values: readonly { readonly merge: Merge; readonly field: string; readonly value: StateValue }[];
  /** Integers and picks by group. Absent: none. */
  readonly rows?: GroupRows;
  /** `hashes`: 8 little-endian bytes each, concatenated. */
  readonly sketches: readonly { readonly field: string; readonly hashes: Buffer }[];
}

export interface Application {
  readonly partition: number;
  readonly from: Position;
  readonly to: Position;
  readonly mark: Mark | null;
  readonly ledger: Ledger;
  readonly deltas: readonly BucketDelta[];
  readonly maxCells: number;
  /** The topic of the batch. Redis refuses the batch when the chain is of another topic. Absent: not compared. */
  readonly topicId?: string;
  /** The time at which `to` was seen to be the log's end. Null when the log continues. */
  readonly freshAtMs: EpochMs | null;
}

export type ApplyReply =
  | {
      readonly kind: "ok";
      /** Whether the batch was written in parts, as a segment of its own. */
      readonly inParts: boolean;
      /** The work of reading the open segment, in plain cells. */
      readonly openWork: number;
      readonly pointer: number;
      /** The number of cells in the whole chain. */
      readonly cells: number;
    }
  /** Nothing was written. `stored` are the stored positions of the partitions of the batch. */
  | { readonly kind: "position"; readonly stored: Cut }
  | { readonly kind: "no-chain" }
  | { readonly kind: "overflow" }
  | { readonly kind: "too-large"; readonly cells: number }
  /** The chain belongs to another topic: another installation uses the same keys. */
  | { readonly kind: "other-topic"; readonly topicId: string };

/**
 * One bucket's cells in Redis. Fields are `<component> <group as JSON>`; an item is one more element of the group.
 * `rows` are the integers and picks of staged segments, by group.
 */
export interface BucketCells {
  readonly bucket: EpochMs;
  readonly values: readonly (readonly [field: string, value: StateValue])[];
  readonly rows: readonly BucketRow[];
  readonly sketches: readonly (readonly [field: string, bytes: Buffer])[];
}

/** A group as JSON, and its values. */
export type BucketRow = readonly [
  group: GroupKey,
  values: readonly (readonly [component: string, value: StateValue])[],
];

/** A part of the open segment: its buckets in `[fromMs, toMs)`. */
export interface OpenPart {
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
  readonly sketches: boolean;
  /** The wanted fields of each bucket. Null: all. */
  readonly fields: readonly string[] | null;
}

/** Some fields of a closed segment's buckets in `[fromMs, toMs)`. At least one field. */
export interface KeyedPart {
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
  readonly fields: readonly string[];
}

/** The state that a digest identifies, without the cells. */
export interface KnownChain {
  readonly chain: ChainState;
  /** The newest bucket of the open segment. */
  readonly lastBucket: EpochMs | null;
}

/** The result of one atomic read. */
export interface ChainRead extends KnownChain {
  /** In the order of the requested parts. Null for a part that the caller already has. */
  readonly parts: readonly (readonly BucketCells[] | null)[];
}

/** The contents of a closed segment. */
export interface SegmentCells {
  readonly lastBucket: EpochMs | null;
  readonly buckets: readonly BucketCells[];
}

/** Returns `<component> <group>`, the field of a bucket's hash. */
export function cellField(component: string, group: GroupKey): string {
  return `${component} ${group}`;
}

export function splitCellField(field: string): { component: string; group: GroupKey } {
  const space = field.indexOf(" ");
  return { component: field.slice(0, space), group: field.slice(space + 1) as GroupKey };
}

/**
 * Invariant 1 for a chain: returns the segments that tile the log from `cut`, the open one ending at the applied
 * positions; or the place where they do not meet.
 */
export function tilesOf(cut: Cut, chain: ChainState) {
  return tilesFrom(
    cut,
    chain.segments.map((segment) => ({ segment, from: segment.from, to: segment.to ?? chain.applied })),
  );
}

/** Returns the error for a view whose batch Redis has not applied, and will not apply later. */
export function refusal(
  view: string,
  reply: Extract<ApplyReply, { kind: "overflow" | "too-large" | "other-topic" }>,
): TidelineError {
  switch (reply.kind) {
    case "overflow":
      return new TidelineError(
        "STATE_OVERFLOW",
        `${view}: a cell would leave 64 bits`,
        "Lower the bounds in the stream's contract, or count in a larger unit.",
      );
    case "other-topic":
      return new TidelineError(
        "REDIS_SHARED",
        `${view}: the live state in Redis belongs to another topic (id ${reply.topicId})`,
        "See whether two installations share this Redis: then give the newer one a Redis or a database of its own " +
          "(REDIS_URL=redis://host/1) and start its roles again. Do not set TIDELINE_NAMESPACE on one that runs: it " +
          "names topics too. If the topic was made again here, `tideline views reset <view> --yes` drops what is " +
          "left of the old one.",
      );
    default:
      if (reply.cells === 0)
        return new TidelineError(
          "VIEW_TOO_LARGE",
          `${view}: one batch alone has more cells than the view's maxCells`,
          "The next settlement reads the batch from the archive, and the view continues behind it: see that " +
            "`tideline worker` runs. Raise maxCells in the view, or drop a dimension.",
        );
      return new TidelineError(
        "VIEW_TOO_LARGE",
        `${view}: ${reply.cells} cells in Redis, and this batch could pass the view's limit`,
        "See why its settlements do not publish: `tideline doctor` names a schedule that failed or is paused, and " +
          "`tideline settle <view>` publishes now, or says why it cannot. Else raise maxCells in the view, or drop a " +
          "dimension.",
      );
  }
}

import { TidelineError } from "../../core/errors.ts";
import type { Ledger } from "../../core/log/ledger.ts";
import type { Cut, EpochMs, Position } from "../../core/log/position.ts";
import { tilesFrom } from "../../core/log/spans.ts";
import type { Merge, StateValue } from "../../core/measures/measure.ts";
import type { GroupKey } from "../../core/state/cells.ts";
import type { Mark } from "../kafka/read/marks.ts";

/** What the chain of a generation is made of, and what goes to and comes from its scripts. */

/** A segment of the chain; `to` is null while it is the open one. */
export interface Segment {
  readonly id: string;
  readonly from: Cut;
  readonly to: Cut | null;
  /** The version whose refresh sealed it; null when it was sealed for size. */
  readonly token: string | null;
  /** How many cells it holds; null while it is open. */
  readonly cells: number | null;
}

/**
 * What names the state of a segment: it never changes, and follows from the log. The id alone does not, for a Redis
 * that comes back as it was some time ago closes the segment of that id elsewhere.
 */
export type ClosedSegment = Pick<Segment, "id" | "from"> & { readonly to: Cut };

/** The segments of a run that are closed. */
export function closedOf<T extends Pick<Segment, "id" | "from" | "to">>(
  segments: readonly T[],
): (T & { readonly to: Cut })[] {
  return segments.filter((segment): segment is T & { readonly to: Cut } => segment.to !== null);
}

export interface ChainState {
  /**
   * Names the chain and its applied positions, and with them everything that its cells hold: the same digest, the same
   * state.
   */
  readonly digest: string;
  readonly nonce: string;
  /** The topic that its positions are of; empty when nobody said. */
  readonly topicId: string;
  readonly pointer: number;
  /** Oldest first; the last one is open. */
  readonly segments: readonly Segment[];
  readonly applied: Cut;
  /** Of all segments. */
  readonly cells: number;
  /**
   * Wall clock at which `applied` was last known to be the log's end, in the partition that lags most; null when it
   * never was.
   */
  readonly freshAtMs: EpochMs | null;
}

/** A component as rows have it. */
export interface RowColumn {
  readonly key: string;
  readonly merge: Merge;
}

/** A group as JSON, and its values in the order of the columns; null where it has none. */
export type GroupRow = readonly [group: GroupKey, values: readonly (StateValue | null)[]];

export interface GroupRows {
  readonly columns: readonly RowColumn[];
  /** Each group at most once. */
  readonly rows: readonly GroupRow[];
}

/** What one micro-batch adds to one bucket. */
export interface BucketDelta {
  readonly bucket: EpochMs;
  /** Integers, items and picks that are not in `rows`. */
  readonly values: readonly { readonly merge: Merge; readonly field: string; readonly value: StateValue }[];
  /** Integers and picks by group; absent: none. */
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
  /** The topic that the batch is of: Redis refuses it when the chain is of another one. Absent: not compared. */
  readonly topicId?: string;
  /** When `to` was seen to be the log's end; null when the log continues. */
  readonly freshAtMs: EpochMs | null;
}

export type ApplyReply =
  | {
      readonly kind: "ok";
      /** Whether the batch went in parts, and is a segment of its own. */
      readonly inParts: boolean;
      /** What reading the open segment costs, in plain cells. */
      readonly openWork: number;
      readonly pointer: number;
      /** Of the whole chain. */
      readonly cells: number;
    }
  /** Nothing was written: these are the stored positions of the partitions that were to be applied. */
  | { readonly kind: "position"; readonly stored: Cut }
  | { readonly kind: "no-chain" }
  | { readonly kind: "overflow" }
  | { readonly kind: "too-large"; readonly cells: number }
  /** The chain belongs to another topic: another installation uses the same keys. */
  | { readonly kind: "other-topic"; readonly topicId: string };

/**
 * One bucket's cells as Redis holds them. Fields are `<component> <group as JSON>`; an item is one more element of the
 * group. `rows` are the integers and picks of segments that were staged, by group.
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
  /** The only fields that are wanted of each bucket; null: all. */
  readonly fields: readonly string[] | null;
}

/** Some fields of a closed segment's buckets in `[fromMs, toMs)`; at least one. */
export interface KeyedPart {
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
  readonly fields: readonly string[];
}

/** What a digest names, beside the cells. */
export interface KnownChain {
  readonly chain: ChainState;
  /** The newest bucket of the open segment. */
  readonly lastBucket: EpochMs | null;
}

/** What one atomic step found. */
export interface ChainRead extends KnownChain {
  /** In the order in which parts were asked for; null for one that the asker holds. */
  readonly parts: readonly (readonly BucketCells[] | null)[];
}

/** Everything a closed segment holds. */
export interface SegmentCells {
  readonly lastBucket: EpochMs | null;
  readonly buckets: readonly BucketCells[];
}

/** `<component> <group>`, the field of a bucket's hash. */
export function cellField(component: string, group: GroupKey): string {
  return `${component} ${group}`;
}

export function splitCellField(field: string): { component: string; group: GroupKey } {
  const space = field.indexOf(" ");
  return { component: field.slice(0, space), group: field.slice(space + 1) as GroupKey };
}

/**
 * Invariant 1 on a chain: the segments that tile the log from `cut`, the open one ending at the applied positions; or
 * where they do not meet.
 */
export function tilesOf(cut: Cut, chain: ChainState) {
  return tilesFrom(
    cut,
    chain.segments.map((segment) => ({ segment, from: segment.from, to: segment.to ?? chain.applied })),
  );
}

/** The error for a view whose batch Redis did not take, and will not take later. */
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

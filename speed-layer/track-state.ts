import type { TidelineError } from "../core/errors.ts";
import { at, type Cut, type Position } from "../core/log/position.ts";
import type { Reached } from "../store/kafka/read/log-check.ts";
import type { Mark } from "../store/kafka/read/marks.ts";
import { type ApplyReply, refusal } from "../store/redis/chain-state.ts";
import { type LiveCells, needsSettlement } from "./settling.ts";

/**
 * One view that reads one topic, as a state machine without I/O, clock and randomness: `transition` takes a state and
 * an event, and returns the next state and what has to be done. `view-track.ts` does it.
 *
 *   detached --attached--> live --chain-lost--> detached
 *     |  |                   |
 *     |  +--- stopped: the log is not ours any more, its SQL fails, it is too large ---> stopped
 *     +--- left-to-batch: the batch layer builds its first version from the archive ---> building
 *                            |
 *                            +--- no-room: its live cells reach the limit ---> settling
 *
 * From `building`, `settling` and `stopped` a view is attached again after a while. While a view is `settling`, the
 * batch layer is asked to publish, which makes room. A view that waits for room too long is stopped.
 */
export type Phase =
  | { readonly kind: "detached" | "live" }
  | { readonly kind: "building" | "settling"; readonly untilMs: number }
  | { readonly kind: "stopped"; readonly error: TidelineError; readonly untilMs: number };

export interface TrackState {
  readonly phase: Phase;
  /** The end of the batches prepared so far, by partition. Redis may not have replied to all of them yet. */
  readonly positions: Cut;
  /** The last record before the position, by partition, where it is known. */
  readonly marks: ReadonlyMap<number, Mark>;
  /** The version that the chain named when the view was attached. */
  readonly pointer: number;
  /**
   * True if a reply has named another version since then, because one was published. The view is attached again before
   * the next fetch, when Redis has replied to everything that was sent. Until then it stays live: a batch that is
   * decoded already is still applied, by equality of positions, and need not be read a second time.
   */
  readonly moved: boolean;
  /** Since when the view has waited for the batch layer to build the first version. Null if it has not. */
  readonly buildingSinceMs: number | null;
  /** Partitions with a batch that did not fit. */
  readonly refused: ReadonlySet<number>;
  /** Since when any partition has been refused. Null if none is. */
  readonly settlingSinceMs: number | null;
  /** Cells in Redis, as of its last reply. */
  readonly cells: number;
  readonly askedToSettleAtMs: number;
  readonly lookedForRoomAtMs: number;
}

export const DETACHED: TrackState = {
  phase: { kind: "detached" },
  positions: new Map(),
  marks: new Map(),
  pointer: 0,
  moved: false,
  buildingSinceMs: null,
  refused: new Set(),
  settlingSinceMs: null,
  cells: 0,
  askedToSettleAtMs: Number.NEGATIVE_INFINITY,
  lookedForRoomAtMs: Number.NEGATIVE_INFINITY,
};

export type TrackEvent =
  /** An attach begins. This process has these partitions. */
  | { readonly kind: "attaching"; readonly partitions: readonly number[] }
  /** There is no version yet, and the archive holds much of the log that the view has not seen. */
  | { readonly kind: "archive-ahead"; readonly nowMs: number }
  | { readonly kind: "left-to-batch"; readonly nowMs: number }
  | {
      readonly kind: "attached";
      readonly positions: Cut;
      readonly marks: ReadonlyMap<number, Mark>;
      readonly pointer: number;
    }
  /** The positions and marks found in Redis, for a batch that was prepared at `positions`. */
  | { readonly kind: "reached"; readonly reached: ReadonlyMap<number, Reached>; readonly positions: Cut }
  /** A batch is ready to be sent. */
  | { readonly kind: "prepared"; readonly ends: readonly PreparedEnd[] }
  /** Redis applied what was sent for these partitions. */
  | { readonly kind: "applied"; readonly partitions: readonly number[]; readonly pointer: number }
  /** Redis applied nothing, because its stored positions are different: `stored`. */
  | { readonly kind: "put-back"; readonly stored: Cut }
  /** Redis lost the chain, or may have lost it. */
  | { readonly kind: "chain-lost" }
  /**
   * Redis applied nothing, because the view would have too many cells. `alone`: the batch by itself has too many, so
   * making room does not help. The next refresh reads the batch from the archive, and puts the cut behind it.
   */
  | {
      readonly kind: "no-room";
      readonly partitions: readonly number[];
      readonly alone: boolean;
      readonly error: TidelineError;
      readonly nowMs: number;
    }
  /** Redis replied to all of a batch. */
  | { readonly kind: "counted"; readonly live: Omit<LiveCells, "added">; readonly nowMs: number }
  /** Segments that a version contains have left Redis. The cells in `live.cells` are in no version yet. */
  | { readonly kind: "room-made"; readonly live: LiveCells; readonly nowMs: number }
  | { readonly kind: "stopped"; readonly error: TidelineError; readonly nowMs: number };

export interface PreparedEnd {
  readonly partition: number;
  readonly to: Position;
  readonly mark: Mark | null;
}

export type TrackEffect =
  /** Delete the segments that a version contains. The event `room-made` follows. */
  { readonly kind: "make-room"; readonly live: LiveCells; readonly nowMs: number } | { readonly kind: "ask-to-settle" };

export interface Transition {
  readonly state: TrackState;
  /** The one thing that has to be done. Null if there is none. */
  readonly effect: TrackEffect | null;
}

/**
 * While the batch layer builds a view, the view checks again after `BUILDING_FOR_MS`. After `BUILDING_PATIENCE_MS` it
 * reads the log itself.
 */
const BUILDING_FOR_MS = 1_000;
const BUILDING_PATIENCE_MS = 120_000;
/**
 * A view whose live cells reached the limit tries again after `SETTLING_FOR_MS`. If no version was published within
 * `SETTLING_PATIENCE_MS`, the view is stopped.
 */
const SETTLING_FOR_MS = 2_000;
const SETTLING_PATIENCE_MS = 180_000;
/** The least time between two requests to the batch layer to publish a view. */
const ASK_EVERY_MS = 5_000;
/** The least time between two checks for room in a view with many live cells. */
const LOOK_FOR_ROOM_MS = 1_000;
/**
 * How long a stopped view waits before it reads the log again. Nothing has to be restarted once the log is repaired.
 */
const STOPPED_FOR_MS = 30_000;

/** Whether a view has to be attached before it can go on with these partitions. */
export function mustAttach({ phase, moved, positions }: TrackState, partitions: readonly number[], nowMs: number) {
  if ("untilMs" in phase) return nowMs >= phase.untilMs;
  return phase.kind === "detached" || moved || partitions.some((partition) => !positions.has(partition));
}

/** Whether a view without a version continues to wait for the batch layer, which may not be running. */
export function waitsForBuild({ buildingSinceMs }: TrackState, nowMs: number): boolean {
  return buildingSinceMs !== null && nowMs - buildingSinceMs < BUILDING_PATIENCE_MS;
}

/** Returns the event for a reply of Redis to the batch of these partitions. `view` is the view's name. */
export function eventOf(reply: ApplyReply, view: string, partitions: readonly number[], nowMs: number): TrackEvent {
  switch (reply.kind) {
    case "ok":
      return { kind: "applied", partitions, pointer: reply.pointer };
    case "position":
      return { kind: "put-back", stored: reply.stored };
    case "no-chain":
      return { kind: "chain-lost" };
    case "too-large":
      return { kind: "no-room", partitions, alone: reply.cells === 0, error: refusal(view, reply), nowMs };
    default:
      return { kind: "stopped", error: refusal(view, reply), nowMs };
  }
}

/** Returns the state after an event, and what has to be done. */
export function transition(state: TrackState, event: TrackEvent): Transition {
  switch (event.kind) {
    case "attaching":
      // Other processes have the other partitions now. They find out by themselves whether there is room.
      return just(
        withRefused(
          state,
          [...state.refused].filter((partition) => event.partitions.includes(partition)),
        ),
      );
    case "archive-ahead":
      return just({ ...state, buildingSinceMs: state.buildingSinceMs ?? event.nowMs });
    case "left-to-batch":
      return just({ ...state, phase: { kind: "building", untilMs: event.nowMs + BUILDING_FOR_MS } });
    case "attached": {
      const { positions, marks, pointer } = event;
      return just({ ...state, phase: { kind: "live" }, positions, marks, pointer, moved: false });
    }
    case "reached":
      return just(withReached(state, event));
    case "prepared":
      return just(withEnds(state, event.ends));
    case "applied": {
      const left = [...state.refused].filter((partition) => !event.partitions.includes(partition));
      return just({ ...withRefused(state, left), moved: state.moved || event.pointer !== state.pointer });
    }
    case "put-back": {
      // Step 2 of "A refused apply" (docs/internals/speed-layer.md).
      const marks = new Map(state.marks);
      for (const partition of event.stored.keys()) marks.delete(partition);
      const positions = new Map([...state.positions, ...event.stored]);
      return just({ ...state, positions, marks });
    }
    case "chain-lost":
      return just(state.phase.kind === "live" ? { ...state, phase: { kind: "detached" } } : state);
    case "no-room":
      return noRoom(state, event);
    case "counted": {
      const { live, nowMs } = event;
      const counted = { ...live, added: live.cells - state.cells };
      const after = { ...state, cells: live.cells };
      if (!needsSettlement(counted) || nowMs - state.lookedForRoomAtMs < LOOK_FOR_ROOM_MS) return just(after);
      return { state: { ...after, lookedForRoomAtMs: nowMs }, effect: { kind: "make-room", live: counted, nowMs } };
    }
    case "room-made":
      return needsSettlement(event.live) ? askToSettle(state, event.nowMs) : just(state);
    case "stopped":
      return just(stopped(state, event.error, event.nowMs));
  }
}

function just(state: TrackState): Transition {
  return { state, effect: null };
}

function stopped(state: TrackState, error: TidelineError, nowMs: number): TrackState {
  return { ...state, phase: { kind: "stopped", error, untilMs: nowMs + STOPPED_FOR_MS } };
}

function noRoom(state: TrackState, event: Extract<TrackEvent, { kind: "no-room" }>): Transition {
  // This batch was sent before the view was stopped.
  if (state.phase.kind === "stopped") return just(state);
  const { partitions, alone, error, nowMs } = event;
  const settlingSinceMs = state.settlingSinceMs ?? nowMs;
  const refused = { ...state, refused: new Set([...state.refused, ...partitions]), settlingSinceMs };
  const phase = { kind: "settling", untilMs: nowMs + SETTLING_FOR_MS } as const;
  const isHopeless = alone || nowMs - settlingSinceMs >= SETTLING_PATIENCE_MS;
  return askToSettle(isHopeless ? stopped(refused, error, nowMs) : { ...refused, phase }, nowMs);
}

function askToSettle(state: TrackState, nowMs: number): Transition {
  if (nowMs - state.askedToSettleAtMs < ASK_EVERY_MS) return just(state);
  return { state: { ...state, askedToSettleAtMs: nowMs }, effect: { kind: "ask-to-settle" } };
}

/** Returns the state with these refused partitions. If there are none, the view waits for room no more. */
function withRefused(state: TrackState, refused: readonly number[]): TrackState {
  const settlingSinceMs = refused.length === 0 ? null : state.settlingSinceMs;
  return { ...state, refused: new Set(refused), settlingSinceMs };
}

/** Takes the marks found in Redis, if the batch's positions are still the view's. */
function withReached(state: TrackState, { reached, positions }: Extract<TrackEvent, { kind: "reached" }>): TrackState {
  const marks = new Map(state.marks);
  for (const [partition, { position, mark }] of reached) {
    const isHeld = [positions, state.positions].every((held) => at(held, partition) === position);
    if (mark !== null && isHeld) marks.set(partition, mark);
  }
  return { ...state, marks };
}

function withEnds(state: TrackState, ends: readonly PreparedEnd[]): TrackState {
  const [positions, marks] = [new Map(state.positions), new Map(state.marks)];
  for (const { partition, to, mark } of ends) {
    positions.set(partition, to);
    if (mark !== null) marks.set(partition, mark);
  }
  return { ...state, positions, marks };
}

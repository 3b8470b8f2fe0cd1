import type { TidelineError } from "../core/errors.ts";
import { at, type Cut, type Position } from "../core/log/position.ts";
import type { Reached } from "../store/kafka/read/log-check.ts";
import type { Mark } from "../store/kafka/read/marks.ts";
import { type ApplyReply, refusal } from "../store/redis/chain-state.ts";
import { type LiveCells, needsSettlement } from "./settling.ts";

/**
 * One view on its way through one topic, as a state machine without I/O, clock and randomness: `transition` takes a
 * state and an event, and returns the next state and what has to be done. `view-track.ts` does it.
 *
 *   detached --attached--> live --chain-lost--> detached
 *     |  |                   |
 *     |  +--- stopped: the log is not ours any more, its SQL fails, it is too large ---> stopped
 *     +--- left-to-batch: the batch layer builds its first version from the archive ---> building
 *                            |
 *                            +--- no-room: its live cells reach the limit ---> settling
 *
 * From `building`, `settling` and `stopped` a view is attached again after a while. Settling: the batch layer is asked
 * to publish, which makes room; a view for which that takes too long is stopped.
 */
export type Phase =
  | { readonly kind: "detached" | "live" }
  | { readonly kind: "building" | "settling"; readonly untilMs: number }
  | { readonly kind: "stopped"; readonly error: TidelineError; readonly untilMs: number };

export interface TrackState {
  readonly phase: Phase;
  /** Up to where each partition was prepared; Redis may not have replied to all of that yet. */
  readonly positions: Cut;
  /** By partition, the last record before the position, where it is known. */
  readonly marks: ReadonlyMap<number, Mark>;
  /** The version that the chain named at the last attach. */
  readonly pointer: number;
  /**
   * Whether a reply named another version since: one was published. The view is attached again before the next fetch,
   * when Redis has replied to everything that was sent. Until then it stays live: a batch that is decoded already is
   * applied, by equality of positions, and need not be read a second time.
   */
  readonly moved: boolean;
  /** Since when the batch layer is waited for to build the first version; null: never was. */
  readonly buildingSinceMs: number | null;
  /** Partitions with a batch for which there was no room. */
  readonly refused: ReadonlySet<number>;
  /** Since when some partition was refused; null when none is. */
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
  /** An attach begins; this process has these partitions. */
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
  /** How far Redis was found to be, for a batch that is prepared at these positions. */
  | { readonly kind: "reached"; readonly reached: ReadonlyMap<number, Reached>; readonly positions: Cut }
  /** A batch is ready to be sent. */
  | { readonly kind: "prepared"; readonly ends: readonly PreparedEnd[] }
  /** Redis applied what was sent of these partitions. */
  | { readonly kind: "applied"; readonly partitions: readonly number[]; readonly pointer: number }
  /** Redis applied nothing, because it has other positions: these. */
  | { readonly kind: "put-back"; readonly stored: Cut }
  /** Redis lost the chain, or may have. */
  | { readonly kind: "chain-lost" }
  /**
   * Redis applied nothing, because the view would have too many cells. `alone`: the batch would have by itself, so that
   * no room is enough. The next refresh reads it from the archive, and puts the cut behind it.
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
  /** What a version has already left Redis; `live.cells` are in no version yet. */
  | { readonly kind: "room-made"; readonly live: LiveCells; readonly nowMs: number }
  | { readonly kind: "stopped"; readonly error: TidelineError; readonly nowMs: number };

export interface PreparedEnd {
  readonly partition: number;
  readonly to: Position;
  readonly mark: Mark | null;
}

export type TrackEffect =
  /** What a version has may leave Redis; `room-made` follows. */
  { readonly kind: "make-room"; readonly live: LiveCells; readonly nowMs: number } | { readonly kind: "ask-to-settle" };

export interface Transition {
  readonly state: TrackState;
  /** What has to be done; null: nothing. */
  readonly effect: TrackEffect | null;
}

/**
 * A view that the batch layer builds looks again after this long, and reads the log itself when it has waited for the
 * whole patience.
 */
const BUILDING_FOR_MS = 1_000;
const BUILDING_PATIENCE_MS = 120_000;
/**
 * A view whose live cells reached the limit tries again after this long, and is stopped when nothing was published for
 * the whole patience.
 */
const SETTLING_FOR_MS = 2_000;
const SETTLING_PATIENCE_MS = 180_000;
/** How often the batch layer is asked to publish a view at most. */
const ASK_EVERY_MS = 5_000;
/** How often a view with many live cells looks for room at most. */
const LOOK_FOR_ROOM_MS = 1_000;
/** A stopped view reads the log again after this long: nothing has to be restarted once the log is repaired. */
const STOPPED_FOR_MS = 30_000;

/** Whether a view has to be attached before it can go on with these partitions. */
export function mustAttach({ phase, moved, positions }: TrackState, partitions: readonly number[], nowMs: number) {
  if ("untilMs" in phase) return nowMs >= phase.untilMs;
  return phase.kind === "detached" || moved || partitions.some((partition) => !positions.has(partition));
}

/** Whether a view without a version goes on waiting for the batch layer, which may not be running. */
export function waitsForBuild({ buildingSinceMs }: TrackState, nowMs: number): boolean {
  return buildingSinceMs !== null && nowMs - buildingSinceMs < BUILDING_PATIENCE_MS;
}

/** The event that a reply of Redis to what was sent of these partitions is for the view of this name. */
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

/** The state after an event, and what has to be done. */
export function transition(state: TrackState, event: TrackEvent): Transition {
  switch (event.kind) {
    case "attaching":
      // Other processes have the other partitions now, and find out themselves whether there is room.
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
  // A batch that was sent before it was stopped.
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

/** Of these partitions a batch is still refused. */
function withRefused(state: TrackState, refused: readonly number[]): TrackState {
  const settlingSinceMs = refused.length === 0 ? null : state.settlingSinceMs;
  return { ...state, refused: new Set(refused), settlingSinceMs };
}

/** Takes the marks at the positions of the batch, if those are still the view's. */
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

import fc from "fast-check";
import { expect, test } from "vitest";
import { TidelineError } from "../../../core/errors.ts";
import { at, type Position, position } from "../../../core/log/position.ts";
import {
  DETACHED,
  mustAttach,
  type Phase,
  type TrackEvent,
  type TrackState,
  transition,
} from "../../../speed-layer/track-state.ts";
import type { Mark } from "../../../store/kafka/read/marks.ts";

type PhaseKind = Phase["kind"];
type EventKind = TrackEvent["kind"];

const PARTITIONS = [0, 1, 2];
const error = new TidelineError("VIEW_TOO_LARGE", "too large", "none");
const mark = (to: Position): Mark => ({ offset: position(to - 1n), hash: "", leaderEpoch: 0, topicId: "t" });
const live = { cells: 10, maxCells: 100, taken: 1, left: 0 };

/** One event of each kind, at this time. */
function events(nowMs: number): { readonly [K in EventKind]: Extract<TrackEvent, { kind: K }> } {
  const positions = new Map(PARTITIONS.map((partition) => [partition, position(1n)]));
  return {
    attaching: { kind: "attaching", partitions: PARTITIONS },
    "archive-ahead": { kind: "archive-ahead", nowMs },
    "left-to-batch": { kind: "left-to-batch", nowMs },
    attached: { kind: "attached", positions, marks: new Map(), pointer: 1 },
    reached: {
      kind: "reached",
      reached: new Map([[0, { position: position(1n), mark: mark(position(1n)) }]]),
      positions,
    },
    prepared: { kind: "prepared", ends: [{ partition: 0, to: position(2n), mark: null }] },
    applied: { kind: "applied", partitions: PARTITIONS, pointer: 1 },
    "put-back": { kind: "put-back", stored: new Map([[0, position(1n)]]) },
    "chain-lost": { kind: "chain-lost" },
    "no-room": { kind: "no-room", partitions: [0], alone: false, error, nowMs },
    counted: { kind: "counted", live, nowMs },
    "room-made": { kind: "room-made", live: { ...live, added: 0 }, nowMs },
    stopped: { kind: "stopped", error, nowMs },
  };
}

const after = (state: TrackState, ...more: TrackEvent[]) =>
  more.reduce((held, event) => transition(held, event).state, state);

/** What an event makes of each phase. */
const to = (detached: PhaseKind, building: PhaseKind, live: PhaseKind, settling: PhaseKind, stopped: PhaseKind) => ({
  detached,
  building,
  live,
  settling,
  stopped,
});
const all = (phase: PhaseKind) => to(phase, phase, phase, phase, phase);
const STAYS = to("detached", "building", "live", "settling", "stopped");

const NEXT_PHASE: Record<EventKind, Record<PhaseKind, PhaseKind>> = {
  attaching: STAYS,
  "archive-ahead": STAYS,
  "left-to-batch": all("building"),
  attached: all("live"),
  reached: STAYS,
  prepared: STAYS,
  applied: STAYS,
  "put-back": STAYS,
  "chain-lost": to("detached", "building", "detached", "settling", "stopped"),
  "no-room": to("settling", "settling", "settling", "settling", "stopped"),
  counted: STAYS,
  "room-made": STAYS,
  stopped: all("stopped"),
};

test("each event leads from each phase where the table says", () => {
  const first = events(0);
  const begun: Record<PhaseKind, TrackState> = {
    detached: DETACHED,
    building: after(DETACHED, first["left-to-batch"]),
    live: after(DETACHED, first.attached),
    settling: after(DETACHED, first.attached, first["no-room"]),
    stopped: after(DETACHED, first.stopped),
  };
  for (const event of Object.values(events(1))) {
    const next = Object.entries(begun).map(([phase, state]) => [phase, after(state, event).phase.kind]);
    expect([event.kind, Object.fromEntries(next)]).toEqual([event.kind, NEXT_PHASE[event.kind]]);
  }
});

const KINDS = Object.keys(NEXT_PHASE) as EventKind[];

/** Events of a random history: what happens, after how long, and the numbers that it is made of. */
const stepsOf = (kinds: readonly EventKind[]) =>
  fc.array(
    fc.record({
      kind: fc.constantFrom(...kinds),
      // Times of each kind: between two batches, between two attaches, longer than any patience.
      afterMs: fc.oneof(fc.nat(50), fc.nat(10_000), fc.constant(200_000)),
      partitions: fc.subarray(PARTITIONS),
      by: fc.nat(5),
      cells: fc.integer({ min: 0, max: 100 }),
      pointer: fc.nat(2),
      flag: fc.boolean(),
    }),
    { maxLength: 60 },
  );
type Step = ReturnType<typeof stepsOf> extends fc.Arbitrary<readonly (infer S)[]> ? S : never;

function eventAt(state: TrackState, step: Step, nowMs: number): TrackEvent {
  const { kind, partitions, by, cells, pointer, flag } = step;
  const moved = (forward: number) =>
    new Map(partitions.map((p) => [p, position(BigInt(Math.max(1, Number(at(state.positions, p)) + forward)))]));
  const marks = (ends: ReadonlyMap<number, Position>) =>
    new Map([...ends].filter(([p]) => p !== by).map(([p, end]) => [p, mark(end)]));
  switch (kind) {
    case "attaching":
      return { kind, partitions };
    case "attached":
      return { kind, positions: moved(by - 2), marks: marks(moved(by - 2)), pointer };
    case "reached": {
      const found = [...moved(flag ? 0 : by)].map(([p, end]) => [p, { position: end, mark: mark(end) }] as const);
      return { kind, reached: new Map(found), positions: flag ? state.positions : moved(by) };
    }
    case "prepared":
      return {
        kind,
        ends: [...moved(by + 1)].map(([p, end]) => ({ partition: p, to: end, mark: flag ? mark(end) : null })),
      };
    case "applied":
      return { kind, partitions, pointer };
    case "put-back":
      return { kind, stored: moved(by - 4) };
    case "no-room":
      return { ...events(nowMs)[kind], partitions: partitions.length === 0 ? [0] : partitions, alone: by === 5 };
    case "counted":
      return { kind, live: { ...live, cells }, nowMs };
    case "room-made":
      return { kind, live: { ...live, cells, added: 0 }, nowMs };
    default:
      return events(nowMs)[kind];
  }
}

/** Every state of a random history, with the one before, the event between them, its time and its effect. */
function* histories(run: readonly Step[]) {
  let [state, nowMs] = [DETACHED, 0];
  for (const step of run) {
    nowMs += step.afterMs;
    const before = state;
    const event = eventAt(before, step, nowMs);
    const { state: next, effect } = transition(before, event);
    state = next;
    yield { before, event, state, effect, nowMs };
  }
}

/** Checks what holds after every event of any history. */
function always(check: (seen: ReturnType<typeof histories> extends Generator<infer T> ? T : never) => void): void {
  fc.assert(
    fc.property(stepsOf(KINDS), (run) => [...histories(run)].forEach(check)),
    { numRuns: 300 },
  );
}

test("only an attach leads out of stopped, and nothing that Redis replies changes why or until when", () => {
  always(({ before, event, state }) => {
    if (before.phase.kind !== "stopped" || event.kind === "stopped") return;
    if (event.kind === "attached" || event.kind === "left-to-batch") expect(state.phase.kind).not.toBe("stopped");
    else expect(state.phase).toBe(before.phase);
  });
});

test("every view that is not live is attached again within 30 seconds", () => {
  always(({ state, nowMs }) => {
    if (state.phase.kind !== "live") expect(mustAttach(state, PARTITIONS, nowMs + 30_000)).toBe(true);
  });
});

test("a live view is attached again when a version was published or a partition is new to it, and not else", () => {
  always(({ before, event, state, nowMs }) => {
    if (state.phase.kind !== "live") return;
    const published = event.kind === "applied" && event.pointer !== before.pointer;
    if (published) expect(mustAttach(state, [], nowMs)).toBe(true);
    if (event.kind === "attached") {
      expect(mustAttach(state, [...state.positions.keys()], nowMs)).toBe(false);
      expect(mustAttach(state, [...state.positions.keys(), 9], nowMs)).toBe(true);
    }
  });
});

test("positions move by an attach, a prepared batch and a reply that puts them back, and by nothing else", () => {
  always(({ before, event, state }) => {
    if (event.kind === "attached") expect(state.positions).toEqual(event.positions);
    else if (event.kind === "prepared")
      for (const { partition, to: end } of event.ends) expect(at(state.positions, partition)).toBe(end);
    else if (event.kind === "put-back")
      for (const [partition, stored] of event.stored) expect(at(state.positions, partition)).toBe(stored);
    else expect(state.positions).toBe(before.positions);
  });
});

test("a mark is of a record below the position of its partition", () => {
  always(({ state }) => {
    for (const [partition, { offset }] of state.marks) expect(offset < at(state.positions, partition)).toBe(true);
  });
});

test("it is known since when there is no room exactly while a batch is refused, and the patience ends", () => {
  always(({ event, state, nowMs }) => {
    expect(state.settlingSinceMs === null).toBe(state.refused.size === 0);
    if (event.kind !== "no-room" || state.phase.kind !== "settling") return;
    expect(event.alone).toBe(false);
    expect(nowMs - (state.settlingSinceMs ?? 0)).toBeLessThan(180_000);
  });
});

test("the batch layer is asked at most every five seconds, and room is looked for at most every second", () => {
  fc.assert(
    fc.property(stepsOf(["no-room", "counted", "room-made", "attached"]), (run) => {
      const seen = [...histories(run)];
      for (const [kind, everyMs] of [
        ["ask-to-settle", 5_000],
        ["make-room", 1_000],
      ] as const) {
        const times = seen.filter(({ effect }) => effect?.kind === kind).map(({ nowMs }) => nowMs);
        for (const [index, nowMs] of times.slice(1).entries())
          expect(nowMs - (times[index] ?? 0)).toBeGreaterThanOrEqual(everyMs);
      }
    }),
  );
});

import fc from "fast-check";
import { PARTITIONS } from "./parcels.ts";

/** A record that somebody sends. */
export interface Sent {
  /**
   * A `repeat` has an id that was sent a few records before; `refused` breaks the contract, but has an id; `broken` is
   * no JSON.
   */
  readonly kind: "fresh" | "repeat" | "refused" | "broken" | "empty";
  /** How many records ago the repeated id was sent. */
  readonly back: number;
  /** Which of two hours it belongs to. */
  readonly hour: 0 | 1;
  readonly place: "north" | "south";
  readonly colour: string;
  readonly hidden: boolean;
}

export const SPEED = ["speed-1", "speed-2"] as const;
export const BATCH = ["batch-1", "batch-2"] as const;
export const READERS = ["read-1", "read-2"] as const;
export const COMPACTOR = "compactor-1";
type Name = (typeof SPEED)[number] | (typeof BATCH)[number] | (typeof READERS)[number] | typeof COMPACTOR;

export type Event =
  | { readonly kind: "send"; readonly partition: number; readonly records: readonly Sent[] }
  /** Records of a transaction, and how it ends: `open` leaves that to a later one of the same producer. */
  | {
      readonly kind: "transaction";
      readonly partition: number;
      readonly producer: 1 | 2;
      readonly records: readonly Sent[];
      readonly end: "commit" | "abort" | "open";
    }
  /** kill -9 of a process; another one takes its place at once. */
  | { readonly kind: "kill"; readonly who: Name }
  /** Sleeps while others continue, and wakes as a zombie. */
  | { readonly kind: "sleep"; readonly who: Name; readonly gates: number }
  /** The reply to the next apply is lost; the client sends it again. */
  | { readonly kind: "lose-reply"; readonly who: (typeof SPEED)[number] }
  /** Redis crashes and comes back as it was this many events before. */
  | { readonly kind: "roll-back"; readonly events: number }
  /** Redis forgets everything. */
  | { readonly kind: "forget" };

/** What happens in a simulation; who continues in between is the scheduler's choice. */
export interface Plan {
  /** `after`: how many gates are opened before it. */
  readonly events: readonly { readonly after: number; readonly event: Event }[];
  /** How many batches of the log a fetch gives, in turn. */
  readonly fetches: readonly number[];
  /** Which processes there are beside one of each kind. */
  readonly with: {
    readonly speed: boolean;
    readonly batch: boolean;
    readonly read: boolean;
    readonly compact: boolean;
  };
  /** Whether the speed layer is gone when the faults stop: the batch view has to get on without. */
  readonly speedGone: boolean;
}

const sent: fc.Arbitrary<Sent> = fc.record({
  kind: fc.oneof(
    { weight: 10, arbitrary: fc.constant("fresh" as const) },
    { weight: 8, arbitrary: fc.constant("repeat" as const) },
    { weight: 2, arbitrary: fc.constant("refused" as const) },
    { weight: 1, arbitrary: fc.constantFrom("broken" as const, "empty" as const) },
  ),
  back: fc.integer({ min: 1, max: 7 }),
  hour: fc.constantFrom(0 as const, 1 as const),
  place: fc.constantFrom("north" as const, "south" as const),
  colour: fc.constantFrom("red", "green", "blue", "white", "grey", "black"),
  hidden: fc.integer({ min: 0, max: 7 }).map((one) => one === 0),
});

const records = (atMost: number) => fc.array(sent, { minLength: 1, maxLength: atMost });
/** Mostly the first one: a second partition shows little that one does not, and costs as much again. */
const partition = fc.oneof(
  { weight: 5, arbitrary: fc.constant(PARTITIONS[0]) },
  { weight: 1, arbitrary: fc.constantFrom(...PARTITIONS) },
);
const speed = fc.constantFrom(...SPEED);
const anyone = fc.oneof(
  { weight: 4, arbitrary: speed },
  { weight: 3, arbitrary: fc.constantFrom(...BATCH) },
  { weight: 2, arbitrary: fc.constantFrom(...READERS, COMPACTOR) },
);

const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 16, arbitrary: fc.record({ kind: fc.constant("send" as const), partition, records: records(4) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("transaction" as const),
      partition,
      producer: fc.constantFrom(1 as const, 2 as const),
      records: records(2),
      end: fc.constantFrom("commit" as const, "abort" as const, "open" as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("kill" as const), who: anyone }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("sleep" as const), who: anyone, gates: fc.integer({ min: 3, max: 40 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("lose-reply" as const), who: speed }) },
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("roll-back" as const), events: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "forget" as const }) },
);

export const plan: fc.Arbitrary<Plan> = fc.record({
  events: fc.array(fc.record({ after: fc.integer({ min: 0, max: 30 }), event }), { minLength: 8, maxLength: 22 }),
  fetches: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 8 }),
  with: fc.record({ speed: fc.boolean(), batch: fc.boolean(), read: fc.boolean(), compact: fc.boolean() }),
  speedGone: fc.integer({ min: 0, max: 3 }).map((one) => one === 0),
});

/** A simulation in which the log of the first partition loses its end and is rewritten. */
export interface RewritePlan extends Plan {
  /** At most this many steps come before the loss; they end early once everything is archived. */
  readonly quiet: number;
  /** How many batches are lost. */
  readonly lost: number;
  /** What the log gets in their place, a batch each, before anybody reads it. */
  readonly instead: readonly (readonly Sent[])[];
  /** What happens afterwards: everybody works on. */
  readonly afterwards: Plan["events"];
}

const afterwards = event.filter(({ kind }) => kind !== "transaction" && kind !== "roll-back");

/** Steps after which a stable log is certainly archived. */
const UNTIL_ARCHIVED = 2_000;

export const rewritePlan: fc.Arbitrary<RewritePlan> = fc
  .record({
    plan,
    events: fc.array(fc.record({ after: fc.integer({ min: 0, max: 30 }), event }), { minLength: 4, maxLength: 10 }),
    quiet: fc.constantFrom(0, 40, UNTIL_ARCHIVED, UNTIL_ARCHIVED),
    lost: fc.integer({ min: 1, max: 4 }),
    instead: fc.array(records(3), { minLength: 1, maxLength: 3 }),
    afterwards: fc.array(fc.record({ after: fc.integer({ min: 0, max: 30 }), event: afterwards }), { maxLength: 6 }),
  })
  .map(({ plan: one, ...rewrite }) => ({ ...one, speedGone: false, ...rewrite }));

/** What happens beside a plan's events. It is drawn apart from them, so that a seed's plan stays what it was. */
export type Trouble =
  /**
   * After this many calls of a kind the next ones of a process fail: fetches of the log, or looks at files of the
   * archive.
   */
  | {
      readonly kind: "fail";
      readonly who: (typeof SPEED)[number] | (typeof BATCH)[number];
      readonly what: "log" | "archive";
      readonly after: number;
      readonly times: number;
    }
  /** A named error stops the second view of a lane; it looks again when the time for that has come. */
  | { readonly kind: "stop"; readonly who: (typeof SPEED)[number] }
  /** Redis evicts a key: of all that there are in order, the one of this number, counted round. */
  | { readonly kind: "evict"; readonly key: number };

export interface Troubles {
  /** Whether the lanes have a second view, with a chain of its own at other positions. */
  readonly second: boolean;
  /** `before`: which of the plan's events. */
  readonly events: readonly { readonly before: number; readonly trouble: Trouble }[];
}

export const NO_TROUBLES: Troubles = { second: false, events: [] };

const trouble: fc.Arbitrary<Trouble> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("fail" as const),
      who: fc.oneof({ weight: 3, arbitrary: speed }, { weight: 1, arbitrary: fc.constantFrom(...BATCH) }),
      what: fc.constantFrom("log" as const, "archive" as const),
      after: fc.integer({ min: 0, max: 2 }),
      times: fc.integer({ min: 1, max: 2 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("stop" as const), who: speed }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("evict" as const), key: fc.nat({ max: 999 }) }) },
);

export const troubles: fc.Arbitrary<Troubles> = fc.record({
  second: fc.integer({ min: 0, max: 5 }).map((one) => one === 0),
  events: fc.array(fc.record({ before: fc.integer({ min: 0, max: 21 }), trouble }), { maxLength: 4 }),
});

/**
 * The data directory goes back to what it was, while all processes are stopped. It is drawn apart from a plan, so that
 * a seed's plan stays what it was.
 */
export interface Restore {
  /** Before which of the plan's events. */
  readonly before: number;
  /** How many events ago the backup was made. */
  readonly back: number;
  /** Redis stays as it is, is empty, or is as it was this many events ago. */
  readonly redis: "as it is" | "empty" | { readonly back: number };
  /** Whether refreshes that were under way continue with what their steps have returned, as Temporal has them do. */
  readonly runsGoOn: boolean;
}

const back = fc.integer({ min: 0, max: 8 });

export const restores: fc.Arbitrary<readonly Restore[]> = fc.array(
  fc.record({
    before: fc.integer({ min: 2, max: 21 }),
    back,
    redis: fc.oneof(
      { weight: 3, arbitrary: fc.constant("as it is" as const) },
      { weight: 1, arbitrary: fc.constant("empty" as const) },
      { weight: 3, arbitrary: fc.record({ back }) },
    ),
    runsGoOn: fc.boolean(),
  }),
  { maxLength: 3 },
);

import { expect, test } from "vitest";
import { position } from "../../core/log/position.ts";
import { Budget } from "../../core/query/budget.ts";
import { STEP, type Work } from "../../core/query/work.ts";
import { inTurns } from "../../serving/common/turns.ts";
import { WeightedCache } from "../../serving/read/cells/weighted-cache.ts";
import type { ViewStatuses } from "../../serving/read/live/view-status.ts";
import { PositionWaits } from "../../serving/read/position-waits.ts";
import type { Definition } from "../../store/definitions/definitions.ts";

/** Work on answers ends when nobody waits for them any more. */

const reason = new Error("the client has left");

function* endless(): Work<number> {
  for (;;) yield STEP;
}

/** A load that ends only when it is given up, until it is told to give a value. */
class Load {
  begun = 0;
  gives: number | null = null;

  readonly run = async (left: AbortSignal): Promise<number> => {
    this.begun += 1;
    return this.gives ?? inTurns(endless(), Budget.unlimited(left));
  };
}

test("a load is given up when all have left who waited for it, and who asks then has it loaded again", async () => {
  const [cache, load] = [new WeightedCache<number>(10, () => 1), new Load()];
  const [one, other] = [new AbortController(), new AbortController()];
  const asked = [one, other].map(({ signal }) => cache.get("key", load.run, signal));
  const ended = Promise.allSettled(asked);
  one.abort(reason);
  let isEnded = false;
  asked[0]?.catch(() => {
    isEnded = true;
  });
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
  expect(isEnded).toBe(false);
  other.abort(reason);
  expect(await ended).toEqual([
    { status: "rejected", reason },
    { status: "rejected", reason },
  ]);
  load.gives = 7;
  expect(await cache.get("key", load.run, new AbortController().signal)).toBe(7);
  expect(load.begun).toBe(2);
});

test("a load is not given up while somebody waits who never leaves", async () => {
  const cache = new WeightedCache<number>(10, () => 1);
  const leaving = new AbortController();
  let resolve: (value: number) => void = () => {};
  const promise = new Promise<number>((given) => {
    resolve = given;
  });
  let isGivenUp = false;
  const load = (left: AbortSignal) => {
    left.addEventListener("abort", () => {
      isGivenUp = true;
    });
    return promise;
  };
  const asked = cache.get("key", load);
  const shared = cache.get("key", load, leaving.signal);
  leaving.abort(reason);
  expect(isGivenUp).toBe(false);
  resolve(7);
  expect(await Promise.all([asked, shared])).toEqual([7, 7]);
});

test("who has left before it asks begins nothing, and who leaves after a load keeps what was loaded", async () => {
  const [cache, load] = [new WeightedCache<number>(10, () => 1), new Load()];
  await expect(cache.get("key", load.run, AbortSignal.abort(reason))).rejects.toBe(reason);
  expect(load.begun).toBe(0);
  load.gives = 7;
  const leaving = new AbortController();
  await cache.get("key", load.run, leaving.signal);
  leaving.abort(reason);
  expect(await cache.get("key", load.run)).toBe(7);
  expect(load.begun).toBe(1);
});

test("one who would wait for a position when too many do is refused as one too many, and not as one who waited", async () => {
  const none = { find: async () => ({ applied: new Map() }) } as unknown as ViewStatuses;
  const waits = new PositionWaits(none);
  const leaving = new AbortController();
  const min = new Map([[0, position(1)]]);
  const wait = () =>
    waits.reach({} as Definition, { min, waitMs: 60_000 }, leaving.signal, () => none.find({} as Definition));
  const waiting = Promise.allSettled(Array.from({ length: 500 }, wait));
  await expect(wait()).rejects.toMatchObject({ code: "TOO_MANY_REQUESTS" });
  leaving.abort();
  await waiting;
});

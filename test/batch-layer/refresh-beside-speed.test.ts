import { describe, expect, it } from "vitest";
import { healLive } from "../../batch-layer/refresh/heal-live.ts";
import { LiveStateDiffers } from "../../batch-layer/refresh/ledger-check.ts";
import { finishPublish } from "../../batch-layer/refresh/refresh.ts";
import { sealCut } from "../../batch-layer/refresh/seal.ts";
import { UNWATCHED } from "../../batch-layer/stores.ts";
import { compact } from "../../batch-layer/versions/compact.ts";
import type { Ledger } from "../../core/log/ledger.ts";
import { at, type Position } from "../../core/log/position.ts";
import { beginGeneration } from "../../store/archive/generation-start.ts";
import { LiveResets } from "../../store/archive/live-resets.ts";
import { Chain } from "../../store/redis/chain.ts";
import { closedOf } from "../../store/redis/chain-state.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { positions, sale } from "../fixtures/events/turnover.ts";
import { newestOf, place, refreshTo, send, useServers } from "../fixtures/servers/batch-place.ts";

useServers();

describe("a refresh beside a speed layer", () => {
  /** Applies `[from, to)` as a consumer would that counted `ledger`. */
  const apply = async (chain: Chain, from: bigint, to: bigint, ledger: Ledger) => {
    const reply = await chain.apply({
      partition: 0,
      from: from as Position,
      to: to as Position,
      mark: null,
      ledger,
      deltas: [],
      maxCells: 1_000,
      freshAtMs: null,
    });
    expect(reply.kind).toBe("ok");
  };
  const honest = (records: number): Ledger => ({ records, duplicates: 0, rejects: 0, counted: records, filtered: 0 });
  const events = (from: number, to: number) => Array.from({ length: to - from }, (_, id) => sale((from + id) * 7 + 1));
  const patience = { waitMs: 300, pollMs: 20, redisMs: 5_000 };

  it("takes the sealed cut, compares ledgers, and trims one cut behind (invariants 8 and 11)", async () => {
    const here = await place();
    const { stores, target, chain } = here;
    await send(target.topic, events(0, 50));
    const genesis = await beginGeneration(stores, target.generation, target.topic, "test");
    await chain.reseed(genesis.cut, 0, null);
    await apply(chain, 0n, 10n, honest(10));
    await chain.seal(null);
    await apply(chain, 10n, 30n, honest(20));
    const first = await sealCut(
      stores,
      { topic: target.topic, chain, version: 0, cut: genesis.cut },
      UNWATCHED,
      patience,
    );
    expect(first).toMatchObject({ by: "speed", cut: positions({ 0: 30 }) });
    expect(await refreshTo(here, positions({ 0: 30 }))).toBe(true);
    expect(await chain.load()).toMatchObject({ pointer: 1 });
    expect((await chain.load())?.segments).toHaveLength(3); // grace: version 0 still finds its segments
    // A version with the same cut trims nothing: a read that began before both of them ends exactly.
    expect(
      await compact(stores, target, { createdBy: "test", limits: { files: 0, left: 1 } }, UNWATCHED),
    ).toMatchObject({ version: 2 });
    expect(await finishPublish(stores, target, chain, 2)).toEqual({ announced: true, swept: 0 });
    expect(await chain.load()).toMatchObject({ pointer: 2 });
    expect((await chain.load())?.segments).toHaveLength(3);
    await apply(chain, 30n, 50n, honest(20));
    const second = await sealCut(
      stores,
      { topic: target.topic, chain, version: 2, cut: positions({ 0: 30 }) },
      UNWATCHED,
      patience,
    );
    expect(second).toMatchObject({ by: "speed", cut: positions({ 0: 50 }) });
    expect(await refreshTo(here, positions({ 0: 50 }))).toBe(true);
    expect((await chain.load())?.segments).toHaveLength(2);
    expect(
      await sealCut(stores, { topic: target.topic, chain, version: 3, cut: positions({ 0: 50 }) }, UNWATCHED, patience),
    ).toBeNull();
  });

  it("keeps what was replaced a moment ago, however many versions follow (invariant 8)", async () => {
    const here = await place();
    const { target, chain } = here;
    const stores = { ...here.stores, readersMs: 60_000 };
    const folder = stores.manifests.stateFolder(target.generation);
    await send(target.topic, events(0, 60));
    await chain.reseed(positions({ 0: 0 }), 0, null);
    for (const to of [10, 20, 30, 40]) {
      await apply(chain, BigInt(to - 10), BigInt(to), honest(10));
      await chain.seal(null);
      expect(await refreshTo({ ...here, stores }, positions({ 0: to }))).toBe(true);
    }
    const ends = async () => closedOf((await chain.load())?.segments ?? []).map(({ to }) => at(to, 0));
    expect(await ends()).toEqual([10n, 20n, 30n, 40n]);
    const read = await newestOf(stores, target);
    expect(
      await compact(stores, target, { createdBy: "test", limits: { files: 0, left: 1 } }, UNWATCHED),
    ).toMatchObject({ version: 5 });
    expect(await refreshTo({ ...here, stores }, positions({ 0: 50 }))).toBe(true);
    await stores.data.requireIntact(read.files);
    expect(await ends()).toEqual([10n, 20n, 30n, 40n]);

    // Readers have had their time: with the next version everything goes that is older than the one before it.
    expect(await refreshTo({ ...here, stores: { ...stores, readersMs: 0 } }, positions({ 0: 60 }))).toBe(true);
    expect(await ends()).toEqual([]);
    expect(await stores.data.list(folder)).toHaveLength((await newestOf(stores, target)).files.length);
  });

  it("fails loudly, and leaves the version, when the speed layer counted otherwise", async () => {
    const here = await place();
    const { stores, target, chain } = here;
    await send(target.topic, events(0, 20));
    await beginGeneration(stores, target.generation, target.topic, "test");
    await chain.reseed(positions({ 0: 0 }), 0, null);
    await apply(chain, 0n, 20n, { ...honest(20), counted: 19, filtered: 1 });
    await chain.seal("1");
    await expect(refreshTo(here, positions({ 0: 20 }))).rejects.toMatchObject({ code: "LEDGER_UNBALANCED" });
    expect((await newestOf(stores, target)).version).toBe(0);
  });

  it("drops live state that three refreshes in a row find different over one span, not more often than once an hour", async () => {
    const { stores, target, chain } = await place();
    const begun = async () => {
      await chain.reseed(positions({ 0: 0 }), 0, null);
      await apply(chain, 0n, 20n, honest(20));
    };
    await begun();
    const found = new LiveStateDiffers("LEDGER_UNBALANCED", "differs", "none");
    const heal = (to: number, nowMs: number) =>
      healLive(stores, target, chain, { version: 0, to: positions({ 0: to }), found, nowMs });
    const dropped = async (to: number, nowMs: number) => [
      (await heal(to, nowMs)).dropped,
      (await chain.load()) === null,
    ];
    expect([await dropped(20, 0), await dropped(20, 0)]).toEqual(Array(2).fill([false, false]));
    // Another span: the count begins again.
    expect([await dropped(30, 0), await dropped(30, 0)]).toEqual(Array(2).fill([false, false]));
    expect(await dropped(30, 1_000)).toEqual([true, true]);
    const resets = new LiveResets(stores.data);
    const note = { version: 0, to: positions({ 0: 30 }), message: "differs", atMs: 1_000 };
    expect(await resets.newest(target.generation)).toEqual(note);
    await begun();
    expect(await dropped(30, 3_600_999)).toEqual([false, false]);
    const { error } = await heal(30, 3_600_999);
    expect([error.code, error.message]).toEqual(["LEDGER_UNBALANCED", expect.stringContaining("differs again")]);
    expect(await dropped(30, 3_601_000)).toEqual([true, true]);
    expect(await resets.newest(target.generation)).toEqual({ ...note, atMs: 3_601_000 });
  });

  it("waits for a speed layer that does not move, then goes to the log's end", async () => {
    const { stores, target, chain } = await place();
    await send(target.topic, events(0, 20));
    const cut = positions({ 0: 0 });
    await chain.reseed(cut, 0, null);
    const stuck = await sealCut(stores, { topic: target.topic, chain, version: 0, cut }, UNWATCHED, patience);
    expect(stuck).toMatchObject({ by: "log", cut: positions({ 0: 20 }) });
    const moving = sealCut(stores, { topic: target.topic, chain, version: 0, cut }, UNWATCHED, {
      ...patience,
      waitMs: 20_000,
    });
    await apply(chain, 0n, 5n, honest(5));
    expect(await moving).toMatchObject({ by: "speed", cut: positions({ 0: 5 }) });
  });

  it("does without Redis when it does not answer", async () => {
    const { stores, target } = await place();
    await send(target.topic, events(0, 20));
    const nobody = openRedis("redis://127.0.0.1:1", () => {});
    const cut = positions({ 0: 0 });
    const choice = await sealCut(
      stores,
      { topic: target.topic, chain: new Chain(nobody, "", target.generation), version: 0, cut },
      UNWATCHED,
      { ...patience, redisMs: 100 },
    );
    expect(choice).toMatchObject({ by: "log", cut: positions({ 0: 20 }) });
    nobody.disconnect();
  });
});

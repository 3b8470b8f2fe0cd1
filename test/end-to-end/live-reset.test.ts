import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { LiveResets } from "../../store/archive/live-resets.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { messyOrders, produce } from "../fixtures/events/produce.ts";
import { EVERYTHING } from "../fixtures/oracles/revenue-model.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";

/**
 * Live state that differs from the archive is read again from the log: after three settlements by itself, or by a
 * command.
 */
describe("live state that differs from the archive", () => {
  let tideline: Installation;
  let redis: Redis;

  beforeAll(async () => {
    tideline = await Installation.open("live-reset");
    redis = new Redis(inject("redisUrl"));
    await produce(inject("kafkaBrokers"), tideline.topic("order-completed"), messyOrders(41, 600, Date.now()));
    await Promise.all([
      tideline.start("speed"),
      tideline.start("serve"),
      tideline.start("worker", { args: ["--no-schedules"] }),
    ]);
  });

  afterAll(async () => {
    redis.disconnect();
    await tideline.close();
  });

  const ask = () => tideline.ask("revenue", EVERYTHING);
  const settled = (size: number) =>
    until("everything is answered", ask, ({ complete, position: { applied } }: Answer) => {
      const read = Object.values(applied).reduce((sum, position) => sum + Number(position), 0);
      return complete && read >= size;
    });

  /**
   * Moves one record of the newest ledger from the counted ones to the filtered ones, as a speed layer that miscounts
   * would.
   */
  async function miscount(generation: string): Promise<void> {
    const chain = `tl:{${tideline.namespace}/${generation}}`;
    const segments = JSON.parse((await redis.hget(`${chain}:chain`, "segments")) ?? "[]") as { id: string }[];
    for (const { id } of segments.toReversed()) {
      const key = `${chain}:s:${id}:ledger`;
      const [field] =
        Object.entries(await redis.hgetall(key)).find(([name, n]) => /:counted$/.test(name) && Number(n) > 0) ?? [];
      if (field === undefined) continue;
      await redis.hincrby(key, field, -1);
      await redis.hincrby(key, field.replace("counted", "filtered"), 1);
      return;
    }
    throw new Error("no segment has counted anything");
  }

  const refreshed = () =>
    tideline.refresh("revenue").then(
      () => "published",
      (error: unknown) => String(error),
    );

  test("three settlements in a row find it, across a restart of the worker; then it is dropped, and read again", async () => {
    const before = await settled(600);
    const { generation } = before.position;
    const resets = new LiveResets(new DataDirectory(join(tideline.home, "data")));
    await miscount(generation);
    expect(await refreshed()).toMatch(/not what the speed layer counted/);
    await tideline.kill("worker");
    await tideline.restart("worker");
    expect(await refreshed()).toMatch(/not what the speed layer counted/);
    expect(await resets.newest(generation)).toBeNull();
    expect(await refreshed()).toMatch(/found 3 times in a row, so the live state was dropped/);
    const note = await resets.newest(generation);
    expect([note?.version, note?.message]).toEqual([0, expect.stringContaining("not what the speed layer counted")]);
    const after = await settled(600);
    expect(after.rows).toEqual(before.rows);
    expect(await refreshed()).toBe("published");
    expect((await settled(600)).rows).toEqual(before.rows);
    const { findings } = JSON.parse((await tideline.begin("doctor", "--json")).stdout as string) as {
      findings: { check: string; level: string; message: string }[];
    };
    expect(findings.filter(({ check }) => check === "view.reset")).toEqual([
      expect.objectContaining({
        level: "warning",
        message: expect.stringContaining("revenue: its live state was dropped"),
      }),
    ]);
  });

  test("when it differs again soon the settlement fails under its code, and the live state stays until somebody resets it", async () => {
    const size = 1_200;
    await produce(inject("kafkaBrokers"), tideline.topic("order-completed"), messyOrders(42, 600, Date.now()));
    const { generation } = (await settled(size)).position;
    await miscount(generation);
    for (let failure = 0; failure < 2; failure++) await refreshed();
    expect(await refreshed()).toMatch(/was read again from the log at .* and differs again/);
    const chain = () => redis.hget(`tl:{${tideline.namespace}/${generation}}:chain`, "nonce");
    const nonce = await chain();
    const shown = await tideline.run("views", "reset", "revenue");
    expect(shown.stdout).toMatch(/live state of \d+ positions, \d+ cells in \d segments\nAdd --yes/);
    expect(await chain()).toBe(nonce);
    const done = await tideline.run("views", "reset", "revenue", "--yes");
    expect(done.stdout).toMatch(/^revenue\.[0-9a-f]{12}: dropped live state of/);
    await until("another chain is there", chain, (now) => now !== null && now !== nonce);
    const rows = (await settled(size)).rows;
    expect(await refreshed()).toBe("published");
    expect((await settled(size)).rows).toEqual(rows);
    await expect(tideline.run("views", "reset", "no-such-view", "--yes")).rejects.toThrow("VIEW_UNKNOWN");
  });
}, 600_000);

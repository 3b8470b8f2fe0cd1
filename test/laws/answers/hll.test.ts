import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { Registers, registerOf, registerSql, registersFromRedis } from "../../../core/numbers/hll.ts";
import { DuckPool, rowsOf } from "../../../store/duckdb/duck.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { sketchBytes } from "../../fixtures/oracles/oracle.ts";

let redis: TidelineRedis;
beforeAll(() => {
  redis = openRedis(inject("redisUrl"), () => undefined);
});
afterAll(() => redis.quit());

test.each([1, 40, 3_000, 60_000])(
  "the registers that SQL computes for %i values are those that PFADD sets, and so is the estimate",
  async (size) => {
    const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512 });
    const duck = await pool.connect();
    const rows = await rowsOf(
      duck,
      "SELECT register, rank, hash FROM (" +
        `${registerSql(`(SELECT md5_number_lower('value-' || i) AS hash FROM range(${size}) t(i))`)})`,
    );
    const fromSql = new Registers();
    for (const [register, rank, hash] of rows) {
      fromSql.offer(Number(register), Number(rank));
      expect(registerOf(hash as bigint)).toEqual({ register: Number(register), rank: Number(rank) });
    }
    duck.closeSync();
    pool.close();

    const key = `hll-law:${size}`;
    await redis.del(key);
    const values = Array.from({ length: size }, (_, i) => sketchBytes(`value-${i}`));
    for (let start = 0; start < size; start += 1_000) await redis.pfadd(key, ...values.slice(start, start + 1_000));
    const fromRedis = registersFromRedis((await redis.getBuffer(key)) ?? Buffer.alloc(0));
    expect(fromRedis.entries()).toEqual(fromSql.entries());
    expect(fromSql.estimate()).toBe(await redis.pfcount(key));
  },
);

test("what is not a sketch is refused", () => {
  expect(() => registersFromRedis(Buffer.from("HYLX0000000000000000"))).toThrow(RangeError);
});

import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { instant, integer, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { stream } from "../../core/contract/stream.ts";
import { view } from "../../core/definition/view.ts";
import { avg } from "../../core/measures/kinds/avg.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { max } from "../../core/measures/kinds/extremes.ts";
import { ratio } from "../../core/measures/kinds/ratio.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { topK } from "../../core/measures/kinds/top-k.ts";
import type { Proof } from "../../core/proof/proof-result.ts";
import type { AnswerBody } from "../../serving/answer/answer-schemas.ts";
import { reaches } from "../fixtures/oracles/exact.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { type Answer, until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/** Sums that fit a cell of 64 bits, and together do not: from the batch, from the speed layer, and from both. */

vi.setConfig({ testTimeout: 120_000 });

const parts = stream("parts", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 100,
  fields: {
    id: text({ max: 20 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    sku: text({ max: 20 }),
    size: integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  },
});
const size = sql`size * 250`;
const sizes = view("sizes", {
  stream: parts,
  by: { sku: sql`sku` },
  every: "1 minute",
  measures: {
    parts: count(),
    total: sum(size),
    largest: max(size),
    mean: avg(size),
    by_part: ratio(sum(size), count()),
    skus: topK(sql`sku`, { weight: size, show: 3 }),
  },
});

const SIZE = 9_007_199_254_740_991;
const START = Date.parse("2026-03-01T10:00:00Z");
let layers: Layers;
let sent = 0;

/** One part a minute, each with almost 2^61, the most that a cell takes at once. */
async function send(total: number): Promise<void> {
  const events = Array.from({ length: total }, (_, index) => ({
    id: `p${sent + index}`,
    at: START + (sent + index) * 60_000,
    sku: ["7", "007"][(sent + index) % 2],
    size: SIZE - (sent + index),
  }));
  sent += total;
  await layers.produce("parts", events);
  const log = await readLog(inject("kafkaBrokers"), layers.topic("parts"));
  await until(
    "all parts are applied",
    () => layers.answer("sizes", "every=1d").catch(String),
    (found) => typeof found !== "string" && reaches(found as Answer, log),
    20_000,
  );
}

beforeAll(async () => {
  layers = await Layers.open([sizes]);
});
afterAll(() => layers.close());

/** What the answer has to be, in whole numbers alone. */
async function expectExact(): Promise<void> {
  const sizesOf = (sku: string) =>
    Array.from({ length: sent }, (_, n) => n)
      .filter((n) => ["7", "007"][n % 2] === sku)
      .map((n) => 250n * BigInt(SIZE - n));
  const { rows } = await layers.answer("sizes", "every=1d&numbers=text");
  expect(rows.map(({ sku }) => sku)).toEqual(["007", "7"]);
  for (const row of rows) {
    const all = sizesOf(String(row.sku));
    const total = all.reduce((a, b) => a + b, 0n);
    expect(row).toMatchObject({ parts: String(all.length), total: String(total), skus: [{ weight: String(total) }] });
    // The division is exact here, and so only one rounding is left.
    expect(row.mean).toBe(Number(total / BigInt(all.length)));
    expect(row.by_part).toBe(row.mean);
  }
  const all = [...sizesOf("7"), ...sizesOf("007")].reduce((a, b) => a + b, 0n);
  expect(all).toBeGreaterThan(2n ** 63n);
  const asked = "every=1d&by=&order=-total&measures=total,parts,largest";
  const [whole] = (await layers.answer("sizes", `${asked}&numbers=text`)).rows;
  expect(whole).toMatchObject({ total: String(all), parts: String(sent), largest: String(250n * BigInt(SIZE)) });
  // As a number it has the same digits, and who reads it is told that they may be rounded.
  const plain = await (await fetch(layers.url(`/views/sizes?${asked}`))).text();
  expect(plain).toContain(`"total":${all},"parts":${sent},"largest":${250n * BigInt(SIZE)}`);
  const { fields, notices } = JSON.parse(plain) as AnswerBody;
  expect([fields.total?.json, fields.parts?.json]).toEqual(["number", "number"]);
  expect(notices?.map(({ code }) => code)).toEqual(["LONG_NUMBERS"]);
  const csv = await fetch(layers.url("/views/sizes?every=1d&by=&measures=total"), { headers: { accept: "text/csv" } });
  expect(await csv.text()).toBe(`bucket,total,partial\r\n2026-03-01T00:00:00.000Z,${all},false\r\n`);
  const proof = (await (await fetch(layers.url("/proof/sizes?every=1d"))).json()) as Proof;
  expect(proof.differences).toEqual([]);
  expect(proof).toMatchObject({ equal: true, rows: 2 });
}

test("a sum beyond 64 bits is answered and proven, live, from the batch, and from both", async () => {
  await send(10);
  await expectExact();
  await layers.refresh(sizes);
  await expectExact();
  await send(4);
  await expectExact();
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeOne } from "../../../core/codec/decode/decode.ts";
import { decimal, flag, instant, integer, oneOf, optional, text } from "../../../core/contract/fields.ts";
import { stream } from "../../../core/contract/stream.ts";
import { position } from "../../../core/log/position.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** A contract with a field of every kind. */
const sample = stream("sample", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 0,
  fields: {
    id: text({ max: 12 }),
    at: instant({ from: "2000-01-01T00:00:00Z", to: "2050-01-01T00:00:00Z" }),
    amount: integer({ min: -1_000, max: 9_007_199_254_740_991 }),
    price: decimal({ scale: 2, min: -100, max: 1_000_000 }),
    kind: oneOf("a", "b", 'q"uote'),
    on: flag(),
    note: optional(text({ max: 5 })),
    count: optional(integer({ min: 0, max: 9 })),
  },
});

const valid = {
  id: anyText({ maxLength: 12 }),
  at: fc.integer({ min: 946_684_800_000, max: 2_524_608_000_000 }),
  amount: fc.maxSafeInteger().filter((n) => n >= -1_000),
  price: fc.integer({ min: -10_000, max: 100_000_000 }).map((cents) => cents / 100),
  kind: fc.constantFrom("a", "b", 'q"uote'),
  on: fc.boolean(),
  note: fc.option(fc.string({ maxLength: 5 })),
  count: fc.option(fc.nat(9)),
};

/** What producers get wrong: other types, near-numbers, bounds. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    1.5,
    true,
    "5",
    1e3,
    -0,
    2 ** 53,
    2 ** 53 + 2,
    null,
    [],
    {},
    [1],
    "",
    "a",
    Number.MAX_VALUE,
    12.345,
    -100.01,
    "\ud800",
    "\u0000",
    "a\u001eb",
    "é".repeat(12),
    "\\",
  ),
  fc.jsonValue(),
);

const document = fc.record(
  Object.fromEntries(
    Object.entries(valid).map(([name, arbitrary]) => [
      name,
      fc.oneof({ weight: 12, arbitrary }, { weight: 1, arbitrary: odd }),
    ]),
  ),
  {
    requiredKeys: ["id", "at", "amount", "price", "kind"],
  },
);

/** Texts that some JSON readers take and others do not. */
const spoil = fc.constantFrom<(json: string) => string>(
  (json) => json,
  (json) => json.replace("}", ",}"),
  (json) => json.replace("}", " , \n}"),
  (json) => json.replace("{", '{"id":"twice",'),
  (json) => json.replace("{", '{"extra":[1,2,],"x":1,'),
  (json) => json.replace("{", '{"extra":1,'),
  (json) => json.replace("{", '{"extra":{"id":"x","a":[1e400,{"b":"}\\\\\\""},[]]},'),
  (json) => json.replace(/}$/, ',"extra":["\\ud800",-0,null,"\\u001e"],"":{}}'),
  (json) => json.replace(/}$/, ',"extra":[01]}'),
  (json) => json.replace("{", '{"a":1,"\\u0069d":"twice","b":2,'),
  (json) => json.replaceAll(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
  (json) => json.replace(/"amount":[^,]*/, '"amount":NaN'),
  (json) => json.replace(/"amount":[^,]*/, '"amount":1.0'),
  (json) => json.replace(/"amount":[^,]*/, '"amount":1e2'),
  (json) => json.replace(/"amount":[^,]*/, '"amount":9007199254740993'),
  (json) => json.replace(/"amount":[^,]*/, '"amount":-0'),
  (json) => json.replace(/"amount":[^,]*/, '"amount":01'),
  (json) => json.replace(/"amount":[^,]*/, '"amount":+1'),
  (json) => json.replace(/"price":[^,]*/, '"price":12.340'),
  (json) => json.replace(/"price":[^,]*/, '"price":1e-2'),
  (json) => json.replace('"id"', '"\\u0069d"'),
  (json) => `\ufeff${json}`,
  (json) => `${json} x`,
  (json) => ` \t${json}\r\n`,
  (json) => json.slice(0, -1),
  (json) => `[${json}]`,
  (json) => json.replaceAll('"', "'"),
  (json) => json.replace("{", "{/*c*/"),
  (json) => json.replace("{", '{"__proto__":{"id":"x"},'),
);

const bytes = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.tuple(document, spoil).map(([value, change]) => Buffer.from(change(JSON.stringify(value)))),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((raw) => Buffer.from(raw)) },
  { weight: 1, arbitrary: fc.constant(null) },
);

/** The column values that the contract gives: integers as bigint, decimals scaled, absent as null. */
function columnsOf(canonical: string): unknown[] {
  const event = JSON.parse(canonical) as Record<string, string | number | boolean | null>;
  const whole = (value: unknown) => (value === null ? null : BigInt(Number(value)));
  return [
    event.id,
    whole(event.at),
    whole(event.amount),
    BigInt(Math.round(Number(event.price) * 100)),
    event.kind,
    event.on,
    event.note,
    whole(event.count),
  ];
}

describe("invariant 3: the vectorised decoder and the contract agree", () => {
  const duck = duckForTests();

  test("a record is an event exactly when zod accepts it, with zod's values, else a reject with its reason and bytes", async () => {
    const decoder = await Decoder.open(duck(), sample, NO_SCHEMAS);
    await fc.assert(
      fc.asyncProperty(fc.array(bytes, { minLength: 1, maxLength: 60 }), async (values) => {
        const { relation, rejected } = await decoder.decode([fetchedOf(0, 0n, values)]);
        const columns = '_offset, _reject, id, "at", amount, price, kind, "on", note, count';
        const rows = await rowsOf(duck(), `SELECT ${columns} FROM ${relation} ORDER BY _offset`);
        expect(rows).toHaveLength(values.length);
        const byOffset = new Map(rejected.map((reject) => [reject.offset, reject]));
        values.forEach((value, index) => {
          const [offset, reject, ...read] = rows[index] ?? [];
          const expected = decodeOne(sample, value);
          expect(offset).toBe(BigInt(index));
          if (expected.ok) {
            expect([reject, read]).toEqual([null, columnsOf(expected.canonical)]);
          } else {
            expect(reject).toBe(expected.reject);
            expect(byOffset.get(position(index))?.value ?? null).toEqual(value);
          }
        });
      }),
      { numRuns: 150 },
    );
  });

  test("a decimal of many digits is the same number whether its record is recognised or goes through zod", async () => {
    const rate = decimal({ scale: 6, min: -900_000_000, max: 900_000_000 });
    const rated = stream("rated", { ...sample, fields: { ...sample.fields, rate } });
    const decoder = await Decoder.open(duck(), rated, NO_SCHEMAS);
    const event = { id: "a", at: 1e12, amount: 1, price: 1, kind: "a", on: true, rate: -812_345_678.654_321 };
    // No column's text can hold a NUL.
    const values = [event, { ...event, id: "\u0000" }].map((value) => Buffer.from(JSON.stringify(value)));
    const { relation, rejected } = await decoder.decode([fetchedOf(0, 0n, values)]);
    expect(rejected).toEqual([]);
    expect(await rowsOf(duck(), `SELECT rate FROM ${relation} ORDER BY _offset`)).toEqual([
      [-812_345_678_654_321n],
      [-812_345_678_654_321n],
    ]);
  });

  test("what the vectorised decoder does recognise is nearly everything that producers send", async () => {
    const decoder = await Decoder.open(duck(), sample, NO_SCHEMAS);
    const values = fc.sample(
      fc.record({
        ...valid,
        id: fc.stringMatching(/^[a-z0-9-]{1,12}$/),
        kind: fc.constant("a"),
        note: fc.constant(null),
      }),
      { numRuns: 500, seed: 7 },
    );
    await decoder.decode([
      fetchedOf(
        0,
        0n,
        values.map((value) => Buffer.from(JSON.stringify(value))),
      ),
    ]);
    expect(await rowsOf(duck(), "SELECT count(*) FROM decoded WHERE _ok")).toEqual([[500n]]);
  });

  test("the rows of a batch are found from a position on, and not after its decoder has begun the next batch", async () => {
    const decoder = await Decoder.open(duck(), sample, NO_SCHEMAS);
    const event = { at: 1e12, amount: 1, price: 1, kind: "a", on: true };
    const bytes = [0, 1, 2].map((id) => Buffer.from(JSON.stringify({ id: `e${id}`, ...event })));
    const fetched = [fetchedOf(0, 10n, bytes), fetchedOf(1, 20n, bytes)];
    const batch = await decoder.decode(fetched);
    const placesFrom = (positions: Readonly<Record<number, number>>, of = fetched) => {
      const cut = new Map(Object.entries(positions).map(([partition, at]) => [Number(partition), position(at)]));
      return rowsOf(duck(), `SELECT _partition, _offset FROM ${batch.from(cut, of)} ORDER BY ALL`);
    };
    expect(await placesFrom({ 0: 10, 1: 22 })).toEqual([
      [0, 10n],
      [0, 11n],
      [0, 12n],
      [1, 22n],
    ]);
    expect(await placesFrom({ 0: 13, 1: 22 }, fetched.slice(0, 1))).toEqual([
      [1, 20n],
      [1, 21n],
      [1, 22n],
    ]);
    // The text of the relation itself, so that its statement is planned once.
    expect(batch.from(new Map([[0, position(10)]]), fetched)).toBe(batch.relation);
    expect((await decoder.decode([])).relation).toEqual(expect.any(String));
    for (const asked of [() => batch.relation, () => batch.from(new Map(), fetched)])
      expect(asked).toThrow("its decoder has begun the next one");
  });
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodingChanges } from "../../core/contract/contract-change.ts";
import type { Field } from "../../core/contract/field.ts";
import {
  decimal,
  flag,
  instant,
  integer,
  list,
  oneOf,
  optional,
  text,
  withDefault,
} from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { type Fields, type Stream, type StreamDefinition, stream } from "../../core/contract/stream.ts";
import { streamDocument, streamFrom } from "../../core/contract/stream-document.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { type View, view } from "../../core/definition/view.ts";
import { viewDocument, viewFrom } from "../../core/definition/view-document.ts";
import { ArchiveEntry, Manifest } from "../../core/log/documents.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { Contracts } from "../../store/definitions/contracts.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DataDirectory } from "../../store/files/files.ts";

/** What decides decoding may change with the contract's revision only. */

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-contracts-"));
});
afterAll(() => rm(home, { recursive: true }));

let directories = 0;
const directory = () => new DataDirectory(join(home, String(++directories)));

const at = instant({ from: "2020-01-01T00:00:00Z", to: "2030-01-01T00:00:00Z" });
const fields = {
  id: text({ max: 20 }),
  other: text({ max: 20 }),
  at,
  later: at,
  shop: oneOf("north", "south"),
  price: decimal({ scale: 2, min: 0, max: 100 }),
  lines: list({ amount: integer({ min: 0, max: 9 }) }, { max: 5 }),
  tip: optional(integer({ min: 0, max: 10 })),
  paid: withDefault(flag(), false),
};
const plain: StreamDefinition<Fields> = {
  revision: 1,
  partitions: 3,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 10_000,
  version: 2,
  fields,
  previous: [{ version: 1, fields: { ...fields, shop: text({ max: 9 }) }, upcast: { shop: sql`lower(shop)` } }],
};
const sales = (change: Partial<StreamDefinition<Fields>> = {}) => stream("sales", { ...plain, ...change });
const withField = (name: string, field: Field) => ({ fields: { ...fields, [name]: field } });

function definitions(of: Stream): Definitions {
  const takings = view("takings", { stream: of, by: {}, every: "1 hour", measures: { sales: count() } });
  const definition = { view: takings, generation: generationOf(takings), file: "test" };
  return { views: new Map([["takings", definition]]), streams: new Map([["sales", of]]) };
}

const decisive: Readonly<Record<string, { change: Partial<StreamDefinition<Fields>>; says: string }>> = {
  dedupWindow: { change: { dedupWindow: 100_000 }, says: "dedupWindow was 10000 and is now 100000" },
  eventId: { change: { eventId: "other" }, says: 'eventId was "id" and is now "other"' },
  eventTime: { change: { eventTime: "later" }, says: 'eventTime was "at" and is now "later"' },
  version: { change: { version: 3 }, says: "version was 2 and is now 3" },
  bound: { change: withField("id", text({ max: 21 })), says: "fields.id.max was 20 and is now 21" },
  instant: {
    change: withField("at", instant({ from: "2019-01-01T00:00:00Z", to: "2030-01-01T00:00:00Z" })),
    says: "fields.at.from was",
  },
  scale: {
    change: withField("price", decimal({ scale: 3, min: 0, max: 100 })),
    says: "fields.price.scale was 2 and is now 3",
  },
  value: {
    change: withField("shop", oneOf("north", "south", "west")),
    says: 'fields.shop.values was ["north","south"] and is now ["north","south","west"]',
  },
  "element of a list": {
    change: withField("lines", list({ amount: integer({ min: 0, max: 8 }) }, { max: 5 })),
    says: "fields.lines.of.amount.max was 9 and is now 8",
  },
  "optional field": { change: withField("more", optional(flag())), says: 'fields.more.type is new: "optional"' },
  default: {
    change: withField("paid", withDefault(flag(), true)),
    says: "fields.paid.value was false and is now true",
  },
  type: { change: withField("tip", integer({ min: 0, max: 10 })), says: 'fields.tip.type was "optional"' },
  upcast: {
    change: {
      previous: [{ version: 1, fields: plain.previous?.[0]?.fields ?? {}, upcast: { shop: sql`upper(shop)` } }],
    },
    says: 'previous.1.upcast.shop was "lower(shop)" and is now "upper(shop)"',
  },
  "older version": { change: { previous: [] }, says: "previous.1.upcast.shop was" },
};

describe("a change that decides decoding, under the same revision", () => {
  test.each(Object.entries(decisive))(
    "%s: refused by name; accepted with a new revision",
    async (_, { change, says }) => {
      const data = directory();
      await new Generations(data).register(definitions(sales()), "test");
      const refused = new Generations(data).register(definitions(sales(change)), "test");
      await expect(refused).rejects.toMatchObject({
        code: "DEFINITION_INVALID",
        message: expect.stringMatching(/^stream sales: .*; but its revision is still 1$/),
        hint: expect.stringContaining("Raise the stream's `revision`"),
      });
      await expect(refused).rejects.toThrow(says);
      // Nothing of it was stored: the old files start as before, and so does the change under another revision.
      await new Generations(data).register(definitions(sales()), "test");
      await new Generations(data).register(definitions(sales({ ...change, revision: 2 })), "test");
      expect(await new Contracts(data).changes([sales(), sales({ ...change, revision: 2 })])).toEqual([]);
      expect(await new Contracts(data).changes([sales({ revision: 2 })])).toHaveLength(1);
    },
  );
});

test("a stream cannot move to another topic, whatever its revision: what is stored are positions of the old one", async () => {
  for (const [before, now, says] of [
    [undefined, "prod.Sales", `its topic was the stream's own and is now "prod.Sales"`],
    ["prod.Sales", null, `its topic was "prod.Sales" and is now the stream's own`],
    ["prod.Sales", "prod.Sales_v2", 'its topic was "prod.Sales" and is now "prod.Sales_v2"'],
  ] as const) {
    const data = directory();
    const old = sales(before === undefined ? {} : { topic: before });
    await new Generations(data).register(definitions(old), "test");
    const moved = new Generations(data).register(definitions(sales({ topic: now, revision: 2 })), "test");
    await expect(moved).rejects.toMatchObject({ code: "DEFINITION_INVALID", message: `stream sales: ${says}` });
    await new Generations(data).register(definitions(old), "test");
    await new Generations(data).register(definitions(sales({ topic: before ?? null, revision: 2 })), "test");
  }
  expect(streamFrom(streamDocument(sales({ topic: "prod.Sales" }))).topic).toBe("prod.Sales");
  expect(streamDocument(sales())).not.toHaveProperty("topic");
});

test("what decides nothing may change: partitions, key, the rule for versions, the order of fields and values", async () => {
  const data = directory();
  await new Generations(data).register(definitions(sales()), "test");
  const turned = Object.fromEntries(Object.entries(fields).toReversed());
  for (const change of [
    { partitions: 12 },
    { key: "shop" },
    { compatibility: "none" as const },
    { fields: turned },
    withField("shop", oneOf("south", "north")),
  ])
    await new Generations(data).register(definitions(sales(change)), "test");
});

test("a directory of a release that kept contracts in its views' definitions only starts unchanged, and refuses a change", async () => {
  const data = directory();
  const store = (of: Stream, generation: string) => {
    const [found] = definitions(of).views.values();
    return data.createExclusively(`views/${generation}/definition.json`, found && viewDocument(found.view));
  };
  // That release accepted a change: what is served and what is kept decode otherwise.
  await store(sales({ dedupWindow: 5 }), "takings.aaaaaaaaaaaa");
  await store(sales(), "takings.bbbbbbbbbbbb");
  await store(sales({ revision: 2, dedupWindow: 7 }), "takings.cccccccccccc");
  await data.createExclusively("views/odd.dddddddddddd/definition.json", { of: "another time" });
  await expect(new Contracts(data).require([sales({ dedupWindow: 6 })])).rejects.toThrow(
    /dedupWindow was .* and is now 6/,
  );
  await new Contracts(data).register([sales()]);
  await expect(new Contracts(data).require([sales({ dedupWindow: 5 })])).rejects.toThrow(
    "dedupWindow was 10000 and is now 5",
  );
});

const SPELLINGS = [
  "2020-01-01",
  "2020-01-01T00:00",
  "2020-01-01 00:00:00 UTC",
  "2020-01-01 GMT",
  "Wed, 01 Jan 2020 00:00:00 GMT",
  "2020-01-01T01:00:00+01:00",
];

test.each(SPELLINGS)("a bound that is written as %s is not a change, in a file and in what is stored", async (from) => {
  const other = sales({ ...withField("at", instant({ from, to: "2030-01-01" })), previous: [] });
  for (const [stored, file] of [
    [other, sales({ previous: [] })],
    [sales({ previous: [] }), other],
  ] as const) {
    const data = directory();
    const [found] = definitions(stored).views.values();
    await data.createExclusively("views/takings.aaaaaaaaaaaa/definition.json", found && viewDocument(found.view));
    expect(await new Contracts(data).changes([file])).toEqual([]);
    await new Contracts(data).register([file]);
  }
});

test("definitions that earlier releases stored stay readable: with bounds of days that there are not", async () => {
  const data = directory();
  const [found] = definitions(sales()).views.values();
  for (const from of ["2020-02-30T00:00:00Z", "2020-02-30", "2020-02-30 GMT"]) {
    const document = structuredClone(viewDocument(found?.view as View));
    document.stream.fields.at = { type: "instant", from, to: "2030-01-01" };
    const read = viewFrom(document);
    expect(read.stream.fields.at?.zod.safeParse(Date.parse("2020-02-29T23:59:59Z")).success).toBe(false);
    expect(read.stream.fields.at?.zod.safeParse(Date.parse("2020-03-01T00:00:00Z")).success).toBe(true);
    const generation = generationOf(read);
    await data.createExclusively(`views/${generation}/definition.json`, document);
    expect((await new Generations(data).definition(generation))?.generation).toBe(generation);
  }
});

test("an archive entry and a manifest that a later release wrote, with a field more, can be read", () => {
  const mark = { offset: "4", hash: "", leaderEpoch: 0, more: 1 };
  const entry = {
    ...{ from: "0", to: "5", file: null, records: 0, duplicates: 0, rejects: 0, control: 5, checksum: null },
    ...{ sizeBytes: 0, topicId: "t", leaderEpoch: 0, contract: 1, mark, more: 1 },
  };
  expect(ArchiveEntry.parse(entry)).toMatchObject({ to: 5n, mark: { offset: 4n } });
  const ledger = { records: 0, duplicates: 0, rejects: 0, counted: 0, filtered: 0, more: 1 };
  const files = [{ file: "f", rows: 1, sizeBytes: 1, checksum: "c", more: 1 }];
  const manifest = {
    ...{ generation: "g", version: 1, base: {}, cut: { 0: "5" }, files, ledger, topicId: "t" },
    ...{ marks: { 0: mark }, createdBy: "test", createdAtMs: 1, more: 1 },
  };
  expect(Manifest.parse(manifest)).toMatchObject({ cut: new Map([[0, 5n]]), marks: { 0: { offset: 4n } } });
  expect(() => Manifest.parse({ ...manifest, cut: undefined })).toThrow();
});

test("a stored contract that no builder takes is compared as it is", async () => {
  const data = directory();
  const document = streamDocument(sales());
  document.fields.at = { type: "instant", from: "once", to: "2030-01-01" };
  await data.createExclusively("streams/sales/1.json", document);
  expect(await new Contracts(data).changes([sales()])).toEqual([expect.stringContaining('fields.at.from was "once"')]);
});

test("of two processes that start at once with different files one is refused", async () => {
  for (let round = 0; round < 10; round++) {
    const data = directory();
    const starts = [sales(), sales({ dedupWindow: 5 })].map((one) => new Contracts(data).register([one]));
    const done = await Promise.allSettled(starts);
    expect(done.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  }
});

test("equal contracts have no changes, and every difference of a number is one", () => {
  fc.assert(
    fc.property(fc.nat(), fc.nat(), fc.nat({ max: 1_000 }), (a, b, max) => {
      const one = (dedupWindow: number) =>
        streamDocument(sales({ dedupWindow, ...withField("tip", integer({ min: 0, max })) }));
      expect(decodingChanges(one(a), one(a))).toEqual([]);
      expect(decodingChanges(one(a), one(b))).toHaveLength(a === b ? 0 : 1);
    }),
  );
});

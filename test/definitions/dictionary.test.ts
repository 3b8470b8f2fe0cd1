import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Fastify from "fastify";
import { afterAll, beforeAll, expect, test } from "vitest";
import { dictionaryMarkdown } from "../../cli/dictionary/dictionary.ts";
import { instant } from "../../core/contract/fields.ts";
import { streamDocument } from "../../core/contract/stream-document.ts";
import {
  count,
  flag,
  integer,
  list,
  oneOf,
  optional,
  ratio,
  sql,
  stream,
  sum,
  table,
  text,
  topK,
  view,
  withDefault,
} from "../../core/definition/builders.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { viewDocument, viewFrom } from "../../core/definition/view-document.ts";
import { refusalOf } from "../../serving/common/problem.ts";
import { parseParameters } from "../../serving/request/parameters.ts";
import type { Serving } from "../../serving/request/serving.ts";
import { dictionaryRoutes } from "../../serving/routes/dictionary.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { dictionaryOf } from "../../store/definitions/dictionary.ts";

/** What definitions say of themselves: outside of every document and hash, and read by `tideline dictionary`. */

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-dictionary-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const HOSTILE = "<img src=x> | `code` *bold*\n\u001b[31m";

/** One definition, with or without what it says of itself. */
function made(says: boolean) {
  const about = (doc: string, example?: unknown) =>
    says ? { doc, ...(example === undefined ? {} : { example }) } : {};
  const orders = stream("orders", {
    ...about(HOSTILE, { id: "o-1", at: 1_772_352_000_000, shop: "a", paid: true, lines: [], tip: 3 }),
    ...(says ? { producers: ["checkout"] } : {}),
    ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 10 },
    fields: {
      id: text({ max: 20, ...about("The order's id", "o-1") }),
      at: instant(about("When it was paid", 1_772_352_000_000)),
      shop: oneOf("a", "b", about("Which shop", "b")),
      paid: flag(about("Whether it was paid")),
      tip: withDefault(integer({ min: 0, max: 9, ...about("In cents", 4) }), 0),
      note: optional(text(about("What the buyer wrote"))),
      lines: list(
        { sku: text(about("The product")), units: integer({ min: 1, max: 9 }) },
        about("What was bought", [{ sku: "x", units: 1 }]),
      ),
    },
  });
  const sales = view("sales", {
    ...about("What is sold", "by=shop&every=1d"),
    stream: orders,
    where: sql`paid`,
    each: "lines",
    by: { shop: sql`upper(shop)`, sku: sql`item.sku` },
    every: "1 hour",
    measures: {
      lines: count(about("How many lines")),
      units: sum(sql`item.units`, about("How many pieces", "42")),
      top: topK(sql`item.sku`, { weight: sql`item.units * tip`, ...about("What sells best") }),
      share: ratio(count({ where: sql`tip > 0` }), count(), about("How many leave a tip")),
    },
  });
  return { orders, sales };
}

test("what a definition says of itself is in no hash and in no document", () => {
  const [silent, told] = [made(false), made(true)];
  expect(generationOf(told.sales)).toBe(generationOf(silent.sales));
  expect(JSON.stringify(viewDocument(told.sales))).toBe(JSON.stringify(viewDocument(silent.sales)));
  expect(JSON.stringify(streamDocument(told.orders))).toBe(JSON.stringify(streamDocument(silent.orders)));
  expect(generationOf(viewFrom(viewDocument(told.sales)))).toBe(generationOf(told.sales));
  expect(told.sales.measures.units?.doc).toBe("How many pieces");
  expect(told.orders.fields.note.doc).toBe("What the buyer wrote");
});

async function definitionsOf({ orders, sales }: ReturnType<typeof made>) {
  return {
    streams: new Map([[orders.name, orders]]),
    views: new Map([[sales.name, { view: sales, generation: generationOf(sales), file: "sales.ts" }]]),
  };
}

test("the dictionary has every field with what it says, what it allows and what reads it", async () => {
  const { streams, views } = await dictionaryOf(await definitionsOf(made(true)), "place");
  const [orders] = streams;
  expect(orders).toMatchObject({ stream: "orders", topic: "place.orders", doc: HOSTILE, producers: ["checkout"] });
  expect(orders?.readers).toEqual([{ kind: "view", name: "sales" }]);
  const readBy = orders?.fields.map(({ field, readBy }) => [field, readBy.map(({ part }) => part)]);
  expect(readBy).toEqual([
    ["id", []],
    ["at", ["every"]],
    ["shop", ["by.shop"]],
    ["paid", ["where"]],
    ["tip", ["measures.top", "measures.share"]],
    ["note", []],
    ["lines", ["each"]],
    ["lines.sku", ["by.sku", "measures.top"]],
    ["lines.units", ["measures.units", "measures.top"]],
  ]);
  expect(orders?.fields.find(({ field }) => field === "tip")).toEqual({
    ...{ field: "tip", type: "integer", column: "BIGINT", required: false, default: 0, from: null },
    ...{ allowed: { min: 0, max: 9 }, doc: "In cents", example: 4, roles: [] },
    readBy: [
      { view: "sales", part: "measures.top" },
      { view: "sales", part: "measures.share" },
    ],
  });
  expect(orders?.fields.find(({ field }) => field === "lines.sku")?.doc).toBe("The product");
  expect(orders?.fields[0]?.roles).toEqual(["key", "event id"]);
  expect(views[0]).toMatchObject({
    view: "sales",
    stream: "orders",
    doc: "What is sold",
    where: "paid",
    each: "lines",
  });
  expect(views[0]?.measures.map(({ measure, doc, reads }) => [measure, doc, reads])).toEqual([
    ["lines", "How many lines", []],
    ["units", "How many pieces", ["lines.units"]],
    ["top", "What sells best", ["lines.sku", "lines.units", "tip"]],
    ["share", "How many leave a tip", ["tip"]],
  ]);
});

test("a table is listed with its key, and its newest record reads every field", async () => {
  const { orders } = made(true);
  const shops = table("shops", { stream: orders, key: sql`shop`, deleted: sql`paid`, doc: "The last order of a shop" });
  const { streams, views } = await dictionaryOf(await definitionsOf({ orders, sales: shops }), "");
  expect(views[0]).toMatchObject({ kind: "table", every: null, doc: "The last order of a shop" });
  expect(views[0]?.dimensions).toEqual([{ dimension: "shop", sql: "shop", reads: ["shop"] }]);
  expect(streams[0]?.readers).toEqual([{ kind: "table", name: "shops" }]);
  const read = streams[0]?.fields.filter(({ readBy }) => readBy.some(({ part }) => part === "measures.latest"));
  expect(read?.map(({ field }) => field)).toEqual(["id", "at", "shop", "paid", "tip", "note", "lines"]);
  expect(JSON.stringify(viewDocument(shops))).not.toContain("last order");
});

test("a list of values says what each of them is, and what counts them", async () => {
  const notes = stream("notes", {
    ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 10 },
    fields: { id: text(), at: instant(), tags: list(text({ max: 9 }), { max: 5, doc: "What it is about" }) },
  });
  const tags = view("tags", {
    stream: notes,
    each: "tags",
    by: { tag: sql`item` },
    every: "1 day",
    measures: { n: count() },
  });
  const { streams } = await dictionaryOf(
    {
      streams: new Map([["notes", notes]]),
      views: new Map([["tags", { view: tags, generation: generationOf(tags), file: "tags.ts" }]]),
    },
    "",
  );
  expect(streams[0]?.fields[2]).toMatchObject({
    ...{ field: "tags", type: "list of text", allowed: { max: 5, each: { max: 9 } }, doc: "What it is about" },
    readBy: [
      { view: "tags", part: "each" },
      { view: "tags", part: "by.tag" },
    ],
  });
});

test("as Markdown no text of a definition is taken for Markdown or HTML", async () => {
  const markdown = dictionaryMarkdown(await dictionaryOf(await definitionsOf(made(true)), ""));
  expect(markdown).toContain("\\<img src=x\\> \\| \\`code\\` \\*bold\\*");
  const table = markdown.split("\n").filter((line) => line.startsWith("|"));
  const cells = (line: string) => line.replaceAll("\\|", "").split("|").length;
  expect(new Set(table.map(cells))).toEqual(new Set([8]));
  expect(markdown).toContain("| `lines.sku` | text | max 256 |  | The product | sales (by.sku, top) |");
});

test("an example that the contract refuses is an error that names the field", async () => {
  const file = (example: string, field: string) => `
    import { instant, integer, stream, text } from "tideline";
    export const s = stream("s", {
      example: ${example}, revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 1,
      fields: { id: text(), at: instant(), n: integer({ min: 0, max: 9, ${field} }) },
    });
  `;
  const event = '{ id: "a", at: 1772352000000, n: 3 }';
  const problemsOf = async (name: string, content: string) => {
    const path = join(folder, name);
    await rm(path, { force: true });
    await writeFile(path, content);
    return loadDefinitions({ schemas: [folder], views: [] })
      .then(() => "none")
      .catch((error: Error) => error.message)
      .finally(() => rm(path));
  };
  expect(await problemsOf("right.ts", file(event, 'doc: "x", example: 9'))).toBe("none");
  expect(await problemsOf("field.ts", file(event, "example: 10"))).toContain(
    "stream s: fields.n: the example 10 breaks the contract",
  );
  expect(await problemsOf("doc.ts", file(event, "doc: 7"))).toContain("stream s: fields.n: doc is a text, not 7");
  expect(await problemsOf("event.ts", file(event.replace("n: 3", "n: 30"), 'doc: "x"'))).toContain(
    "stream s: example: the contract refuses it: contract: n: ",
  );
});

test("GET /dictionary answers it, and takes no parameters", async () => {
  const app = Fastify({ routerOptions: { querystringParser: (query) => ({ ...parseParameters(query) }) } });
  app.setErrorHandler((error, _request, reply) => reply.status(refusalOf(error).problem.status).send());
  const definitions = await definitionsOf(made(true));
  dictionaryRoutes(app, { dictionary: () => dictionaryOf(definitions, "") } as Serving);
  const { statusCode, body } = await app.inject("/dictionary");
  expect([statusCode, JSON.parse(body)]).toEqual([
    200,
    JSON.parse(JSON.stringify(await dictionaryOf(definitions, ""))),
  ]);
  expect((await app.inject("/dictionary?stream=x")).statusCode).toBe(400);
  await app.close();
});

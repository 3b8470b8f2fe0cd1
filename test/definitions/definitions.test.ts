import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sql } from "../../core/contract/sql.ts";
import { avg, count, distinct, max, min, quantile, sum, view } from "../../core/definition/builders.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { revenue } from "../../systems/shop/views/revenue.ts";

const folder = join(process.cwd(), ".tideline", `definitions-${Date.now()}`);
beforeAll(() => mkdir(folder, { recursive: true }));
afterAll(() => rm(folder, { recursive: true }));

let files = 0;

/** Loads one definition file on its own; the problems it is refused for, or none. */
async function problemsOf(definition: string, stream = "orderCompleted"): Promise<string> {
  const directory = join(folder, String(files++));
  await mkdir(directory);
  await writeFile(
    join(directory, "sample.ts"),
    `import { count } from "../../../core/measures/kinds/count.ts";
     import { sum } from "../../../core/measures/kinds/sum.ts";
     import { distinct } from "../../../core/measures/kinds/distinct.ts";
     import { sql } from "../../../core/contract/sql.ts";
     import { view } from "../../../core/definition/view.ts";
     import { stream } from "../../../core/contract/stream.ts";
     import { integer, text, instant, decimal } from "../../../core/contract/fields.ts";
     import { orderCompleted } from "../../../schemas/order-completed.ts";
     const id = { partitions: 1, eventId: "id", dedupWindow: 1 };
     const at = instant({ from: "2020-01-01", to: "2030-01-01" });
     const price = decimal({ scale: 2, min: 0, max: 1000 });
     const priced = stream("priced",
       { ...id, revision: 1, key: "id", eventTime: "at", fields: { id: text(), at, price } });
     const broken = stream("Broken",
       { ...id, revision: 0, key: "nothing", eventTime: "id", fields: { id: text(), "Bad Name": text() } });
     export const sample = view("sample",
       { stream: ${stream}, every: "1 minute", measures: { n: count() }, ${definition} });`,
  );
  return loadDefinitions({ schemas: [], views: [directory] }).then(
    () => "",
    (error: { code: string; message: string }) => {
      expect(error.code).toBe("DEFINITION_INVALID");
      return error.message;
    },
  );
}

test("what is wrong with a table's key is said of the key, not of the condition that it is a part of", async () => {
  const directory = join(folder, "keys");
  await mkdir(directory);
  await writeFile(
    join(directory, "carts.ts"),
    `import { sql, table } from "../../../core/definition/builders.ts";
     import { orderCompleted } from "../../../schemas/order-completed.ts";
     export const carts = table("carts", { stream: orderCompleted, key: { cart: sql\`crat_id\` } });`,
  );
  const loading = loadDefinitions({ schemas: [], views: [directory] });
  await expect(loading).rejects.toThrow(/carts: key\.cart: there is no column "crat_id"/);
});

test("indexes of a table are columns that have one, each once", async () => {
  const directory = join(folder, "indexes");
  await mkdir(directory);
  await writeFile(
    join(directory, "carts.ts"),
    `import { count, last, max, sql, sum, table } from "../../../core/definition/builders.ts";
     import { orderCompleted } from "../../../schemas/order-completed.ts";
     const most = max(sql\`amount_cents\`);
     const measures = { n: count(), total: sum(sql\`amount_cents\`), most, at: last(sql\`region\`) };
     const common = { stream: orderCompleted, key: { region: sql\`region\`, order: sql\`order_id\` } };
     export const good = table("good", { ...common, measures, indexes: ["region", "order", "most"] });
     export const newest = table("newest", { ...common, key: sql\`order_id\`, indexes: ["region", "amount_cents"] });
     export const bad = table("bad", { ...common, measures, indexes: ["n", "total", "at", "rigeon", "most", "most"] });
     export const text = table("text", { ...common, measures, indexes: "most" });`,
  );
  const message = await loadDefinitions({ schemas: [], views: [directory] }).then(
    () => "",
    (error: Error) => error.message,
  );
  for (const column of ["n", "total", "at", "rigeon"])
    expect(message).toContain(`view bad: indexes: "${column}" cannot have an index; parts of the key`);
  expect(message).toContain('view bad: indexes: "most" is named twice');
  expect(message).toContain('view text: indexes: a list of columns, such as ["customer"]');
  expect(message).not.toMatch(/view (good|newest)/);
});

test("a sound definition has no problems", async () => {
  expect(
    await problemsOf("by: { region: sql`upper(region)` }, where: sql`amount_cents > 5 AND region IN ('eu', 'us')`"),
  ).toBe("");
  expect(await problemsOf("measures: { total: sum(sql`price`) }", "priced")).toBe("");
});

test.each([
  ["an unknown column", "by: { place: sql`reggion` }", "by.place", 'no column "reggion"'],
  ["a column of ours", "by: { place: sql`_offset` }", "by.place", 'no column "_offset"'],
  ["a function that knows the time", "where: sql`completed_at < epoch_ms(now())`", "where", 'function "now"'],
  ["chance", "by: { luck: sql`random() > 0.5` }", "by.luck", 'function "random"'],
  ["a file", "by: { x: sql`(SELECT content FROM read_text('/etc/passwd'))` }", "by.x", "subquery"],
  ["an aggregate inside a measure", "measures: { x: sum(sql`max(amount_cents)`) }", "measures.x", 'function "max"'],
  ["a window", "measures: { x: sum(sql`row_number() OVER ()`) }", "measures.x", "window"],
  ["floating point without a scale", "measures: { x: sum(sql`amount_cents * 1.5e0`) }", "measures.x", "DOUBLE"],
  ["division that makes floating point", "measures: { x: sum(sql`amount_cents / 2`) }", "measures.x", 'function "/"'],
  ["a sum of text", "measures: { x: sum(sql`region`) }", "measures.x", "VARCHAR"],
  ["a condition that is none", "where: sql`amount_cents`", "where", "BIGINT"],
  ["two expressions", "by: { x: sql`region, category` }", "by.x", 'function "row"'],
  ["what is not SQL", "by: { x: sql`region +` }", "by.x", "not SQL"],
  ["a bracket that closes ours", "by: { x: sql`region) FROM checked; DROP TABLE checked; SELECT (1` }", "by.x", ""],
  ["a grain that is none", 'every: "sometimes"', "every", "not a duration"],
  ["a name that does not fit a column", "measures: { 'Total Sum': sum(sql`amount_cents`) }", "Total Sum", "lower-case"],
  ["no measure", "measures: {}", "measures", "at least one"],
])("%s is refused, with file and field", async (_, definition, field, problem) => {
  const message = await problemsOf(definition);
  expect(message).toContain("sample.ts: ");
  expect(message).toContain(field);
  expect(message).toContain(problem);
});

test("a stream's problems are all named at once", async () => {
  const message = await problemsOf("", "broken");
  for (const part of ['name "Broken"', "revision", "fields.Bad Name", 'no field "nothing"', "eventTime"])
    expect(message).toContain(part);
});

test("a stream that no view reads is known too; one whose name is taken is refused, with its file", async () => {
  const own = join(process.cwd(), "schemas");
  const { streams, views } = await loadDefinitions({ schemas: [own], views: [] });
  expect([...streams.keys()]).toEqual(expect.arrayContaining(["order-created", "inventory-reserved", "flights"]));
  expect(views.size).toBe(0);
  const directory = join(folder, "streams");
  await mkdir(directory);
  const fields = 'id: text(), at: instant({ from: "2020-01-01", to: "2030-01-01" })';
  await writeFile(
    join(directory, "again.ts"),
    `import { instant, stream, text } from "../../../core/definition/builders.ts";
     export const again = stream("order-created", { revision: 1, partitions: 0, key: "id", eventId: "id",
       eventTime: "at", dedupWindow: 1, fields: { ${fields} } });`,
  );
  const message = await loadDefinitions({ schemas: [own, directory], views: [] }).then(
    () => "",
    (error: Error) => error.message,
  );
  expect(message).toMatch(/again\.ts: stream "order-created" is defined twice/);
  expect(message).toMatch(/again\.ts: stream order-created: partitions/);
});

test("a stream may name its topic as Kafka allows it; two streams on one topic are refused, by name", async () => {
  const directory = join(folder, "topics");
  await mkdir(directory);
  const problems = async (namespace: string, ...streams: readonly (readonly [name: string, topic: string])[]) => {
    const made = streams.map(
      ([name, topic], index) =>
        `export const s${index} = stream("${name}", { topic: ${topic}, revision: 1, partitions: 1, key: "id", ` +
        `eventId: "id", eventTime: "at", dedupWindow: 1, fields: { id: text(), at: instant({}) } });`,
    );
    await writeFile(
      join(directory, `topics${files++}.ts`),
      `import { instant, stream, text } from "../../../core/definition/builders.ts";\n${made.join("\n")}`,
    );
    const loaded = loadDefinitions({ schemas: [directory], views: [], namespace });
    const message = await loaded.then(
      () => "",
      (error: Error) => error.message,
    );
    await rm(join(directory, `topics${files - 1}.ts`));
    return message;
  };
  expect(await problems("shop", ["orders", '"prod.Orders_v1"'], ["sales", "undefined"], ["clicks", '"sales"'])).toBe(
    "",
  );
  expect(await problems("", ["orders", '"a"'], ["sales", '"a"'])).toBe(
    'stream sales: topic "a" is read by stream "orders" already: a topic has one stream',
  );
  expect(await problems("shop", ["sales", "null"], ["clicks", '"shop.sales"'])).toMatch(
    /topic "shop.sales" is read by/,
  );
  expect(await problems("shop", ["orders", '"shop.orders.dead-letters"'])).toMatch(/holds the dead letters of/);
  for (const wrong of ['""', '"."', '".."', '"a b"', '"a/b"', '"ä"', `"${"a".repeat(250)}"`, "7"])
    expect(await problems("", ["orders", wrong]), wrong).toMatch(/stream orders: topic .*Kafka's names have/);
});

test("two views of one name are refused", async () => {
  const directory = join(folder, "models");
  await mkdir(directory);
  for (const name of ["a.ts", "b.ts"])
    await writeFile(join(directory, name), 'export { revenue } from "../../../systems/shop/views/revenue.ts";');
  await expect(loadDefinitions({ schemas: [], views: [directory] })).rejects.toMatchObject({
    code: "DEFINITION_INVALID",
    message: expect.stringContaining('name "revenue" is taken') as string,
  });
});

test("a generation changes with what is computed, and with nothing else", () => {
  const changed = (over: object) => generationOf({ ...revenue, ...over });
  expect(changed({ maxCells: 1 })).toBe(generationOf(revenue));
  expect(changed({ where: null })).not.toBe(generationOf(revenue));
  expect(changed({ grainMs: 1 })).not.toBe(generationOf(revenue));
  expect(changed({ stream: { ...revenue.stream, revision: 99 } })).not.toBe(generationOf(revenue));
  expect(changed({ stream: { ...revenue.stream, topic: "other" } })).not.toBe(generationOf(revenue));
  expect(changed({ measures: { ...revenue.measures, extra: sum(sql`amount_cents`) } })).not.toBe(generationOf(revenue));
  expect(view("x", { stream: revenue.stream, every: "1 minute", measures: revenue.measures }).grainMs).toBe(60_000);
});

/** As the shop's view was when installations of earlier releases stored it. It stays as it is. */
const STORED = view("revenue", {
  stream: orderCompleted,
  where: sql`NOT test_order`,
  by: { region: sql`region`, category: sql`category` },
  every: "1 minute",
  measures: {
    orders: count({ unit: "orders" }),
    revenue: sum(sql`amount_cents`, { unit: "cents" }),
    tax: sum(sql`tax_cents`, { unit: "cents" }),
    smallest: min(sql`amount_cents`, { unit: "cents" }),
    largest: max(sql`amount_cents`, { unit: "cents" }),
    average: avg(sql`amount_cents`, { unit: "cents" }),
    basket: quantile(sql`amount_cents`, { error: 0.05, unit: "cents" }),
    buyers: distinct(sql`buyer_id`, { unit: "buyers" }),
  },
});

test("a definition has the generation under which every release has stored it", () => {
  expect(generationOf(STORED)).toBe("revenue.543ffe62c496");
});

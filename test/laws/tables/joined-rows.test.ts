import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { joinRows, type PartRows } from "../../../core/query/tables/joined-rows.ts";
import { compareKeys } from "../../../core/query/tables/table-query.ts";
import { loadDefinitions } from "../../../store/definitions/definitions.ts";
import { anyText } from "../../fixtures/events/any-text.ts";

/** Joining the first rows of some tables by their key. */

const keys = fc.uniqueArray(fc.oneof(anyText({ maxLength: 3 }), fc.integer({ min: -9, max: 99 }).map(String)), {
  maxLength: 30,
});

describe("the first rows of some tables", () => {
  test("page by page make what joining whole tables makes, with no key twice or left out", () => {
    fc.assert(
      fc.property(fc.array(keys, { minLength: 1, maxLength: 5 }), fc.nat(6), fc.boolean(), (tables, more, isCut) => {
        const limit = more + 1;
        const sorted = tables.map((all) => all.map((key) => [key]).toSorted(compareKeys));
        const pageAfter = (after: readonly string[] | null) =>
          new Map(
            sorted.map((all, index): [string, PartRows] => {
              const left = all.filter((key) => after === null || compareKeys(key, after) > 0);
              const rows = left.slice(0, limit).map((key) => ({ key, row: { of: index } }));
              return [`t${index}`, { rows, truncated: left.length > limit }];
            }),
          );
        const found: [string, string[]][] = [];
        let after: readonly string[] | null = null;
        for (let isMore = true; isMore; ) {
          const { rows, truncated } = joinRows(pageAfter(after));
          if (truncated) expect(rows.length).toBeGreaterThanOrEqual(limit);
          // A question with conditions takes all that were read, any other one only its page.
          const shown = isCut ? rows.slice(0, limit) : rows;
          found.push(...shown.map(({ key, rows: parts }): [string, string[]] => [String(key[0]), [...parts.keys()]]));
          after = shown.at(-1)?.key ?? after;
          isMore = truncated || shown.length < rows.length;
        }
        const all = [...new Set(tables.flat())].map((key) => [key]).toSorted(compareKeys);
        const having = (key: string) => tables.flatMap((own, index) => (own.includes(key) ? [`t${index}`] : []));
        expect(found.map(([key, parts]) => [key, parts.toSorted()])).toEqual(
          all.map(([key = ""]) => [key, having(key)]),
        );
      }),
    );
  });
});

describe("the definition of a joined table", () => {
  async function loaded(file: string): Promise<string> {
    const own = join(process.cwd(), ".tideline");
    await mkdir(own, { recursive: true });
    const folder = await mkdtemp(join(own, "joined-"));
    const builders = `${process.cwd()}/core/definition/builders.ts`;
    const imports = `import { count, joined, quantile, sql, table, view } from "${builders}";
      import { stockMovements } from "${process.cwd()}/systems/inventory/schemas/stock-movements.ts";
      const newest = table("newest", { stream: stockMovements, key: sql\`sku\` });
      const measures = { n: count(), q: quantile(sql\`quantity\`, { at: [0.5] }) };
      const counted = table("counted", { stream: stockMovements, key: sql\`sku\`, measures });
      const other = table("other", { stream: stockMovements, key: sql\`warehouse\` });`;
    await writeFile(join(folder, "sample.ts"), `${imports}\n${file}`);
    try {
      const { views, joined } = await loadDefinitions({ schemas: [], views: [folder] });
      return `${[...views.keys()]} ${[...(joined?.keys() ?? [])]}`;
    } catch (error) {
      return (error as Error).message;
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test("brings its tables with it, whether files export them or not", async () => {
    const columns = "{ quantity: sql`newest.quantity`, n: sql`coalesce(counted.n, 0)`, q: sql`counted.q` }";
    const file =
      `export { counted }; export const both = joined("both", { tables: { ` +
      `newest, counted }, columns: ${columns} });`;
    expect(await loaded(file)).toBe("counted,newest both");
  });

  test("is refused with file and field: its tables, its key, its columns and their SQL", async () => {
    const message = await loaded(`
      const hours = view("hours", { stream: stockMovements, every: "1 hour", measures: { n: count() } });
      const one = { n: sql\`newest.quantity\` };
      export const a = joined("a", { tables: { newest, hours }, columns: one });
      export const b = joined("b", { tables: { newest, other }, columns: one });
      export const c = joined("c",
        { tables: { newest }, columns: { x: sql\`newest.nothing\`, y: sql\`epoch_ms(now())\` } });
      export const d = joined("D", { tables: {}, columns: {} });
      export const e = joined("e", { tables: { sku: newest }, columns: { sku: sql\`1\`, X: sql\`1\` } });
      export const f = joined("f",
        { tables: { newest }, columns: { x: sql\`newest\`, y: sql\`true) FROM (SELECT 1\` } });
      const tests = sql\`CASE WHEN newest IS NOT NULL AND counted IS NULL THEN 1 END\`;
      const z = sql\`coalesce(newest, newest) IS NULL\`;
      const whole = { tests, x: sql\`newest::VARCHAR\`, y: sql\`newest = newest\`, z };
      export const h = joined("h", { tables: { newest, counted }, columns: whole });
      export const g = joined("newest", { tables: { newest }, columns: one });`);
    for (const part of [
      "sample.ts: joined table a: tables.hours: no table",
      "joined table b: tables.other: its key is warehouse, and has to be sku",
      'joined table c: columns.x: there is no column "newest.nothing"',
      'joined table c: columns.y: function "now" is not on the list',
      'joined table D: name "D"',
      "joined table D: tables: a joined table needs at least one",
      "joined table e: tables.sku: a part of the key has this name already",
      "joined table e: columns.sku: a part of the key has this name already",
      "joined table e: columns.X: use lower-case letters",
      'joined table f: columns.x: "newest" is a table: name a column of it',
      "joined table f: columns.y: not ",
      'joined table h: columns.x: "newest" is a table: name a column of it, or ask newest IS NULL',
      'joined table h: columns.y: "newest" is a table',
      'joined table h: columns.z: "newest" is a table',
      "joined table newest: its name is taken",
    ])
      expect(message).toContain(part);
    expect(message).not.toContain("columns.tests");
  });
});

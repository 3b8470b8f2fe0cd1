import { afterAll, beforeAll, expect, test } from "vitest";
import { sql } from "../../core/contract/sql.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { joined } from "../../core/definition/joined.ts";
import { table } from "../../core/definition/table.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { type DescribedServer, openApiDocument } from "../../serving/openapi/openapi.ts";
import { columnTypes } from "../../serving/views/column-types.ts";
import { type Definition, loadDefinitions } from "../../store/definitions/definitions.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { sales, takings } from "../fixtures/events/takings.ts";

/** The OpenAPI documents, whole. A change of the API shows as a change of these files: `vitest -u` writes them. */

let pool: DuckPool;
beforeAll(async () => {
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256 });
});
afterAll(() => pool.close());

async function documentOf(definitions: readonly Definition[], server: Partial<DescribedServer>): Promise<string> {
  const duck = await pool.connect();
  const views = [];
  for (const definition of definitions) views.push({ definition, types: await columnTypes(duck, definition.view) });
  duck.closeSync();
  const policy = { isLocal: true, isRequired: false };
  const document = openApiDocument(views, { version: "1.0.0", policy, ...server });
  return `${JSON.stringify(withoutRepeats(sorted(document), "", new Map()), null, 1)}\n`;
}

/** Texts that are shorter than this are written again and again. */
const SHORT = 100;

/** The same; what stands in an earlier place too is told by that place, so that files stay small. */
function withoutRepeats(value: unknown, place: string, places: Map<string, string>): unknown {
  if (value === null || typeof value !== "object") return value;
  const text = JSON.stringify(value);
  const earlier = places.get(text);
  if (earlier !== undefined) return `as ${earlier}`;
  if (text.length >= SHORT) places.set(text, place);
  const part = ([key, one]: [string, unknown]) => [key, withoutRepeats(one, `${place}/${key}`, places)] as const;
  const parts = Object.entries(value).map(part);
  return Array.isArray(value) ? parts.map(([, one]) => one) : Object.fromEntries(parts);
}

/** The same with sorted keys. */
function sorted(value: unknown): unknown {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(sorted);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, one]) => [key, sorted(one)]));
}

test("the document of the shop is as its file has it", async () => {
  const { views } = await loadDefinitions({ schemas: ["schemas"], views: ["systems/shop/views"] });
  await expect(await documentOf([...views.values()], {})).toMatchFileSnapshot("openapi/shop.json");
});

test("the document of tables, joined tables and routes that need a key is as its file has it", async () => {
  const shops = table("shops", { stream: sales, key: { shop: sql`shop` }, measures: { sold: count() } });
  const sold = joined("sold", { tables: { shops }, columns: { sold: sql`shops.sold` } });
  const definitions = [takings, shops].map((view) => ({ view, generation: generationOf(view), file: "test" }));
  const server = { joined: [sold], policy: { isLocal: false, isRequired: true } };
  await expect(await documentOf(definitions, server)).toMatchFileSnapshot("openapi/tables.json");
});

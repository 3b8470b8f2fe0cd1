import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Definitions as somebody with many of them would have: streams of clicks, and views of all common shapes. */

export const STREAMS = 10;
export const VIEWS_A_STREAM = 20;

export const streamName = (stream: number) => `clicks-${stream}`;
export const viewName = (stream: number, view: number) => `clicks-${stream}-by-${view}`;

const GROUPS = [
  "",
  "page: sql`page`",
  "country: sql`country`",
  "country: sql`country`, page: sql`page`",
  "visitor: sql`visitor`",
];
const MEASURES = [
  "clicks: count()",
  "clicks: count(), ms: sum(sql`ms`), slowest: max(sql`ms`)",
  "visitors: distinct(sql`visitor`), ms: avg(sql`ms`)",
  "ms: quantile(sql`ms`), pages: topK(sql`page`)",
];

/** Writes `schemas` and `views` with the definitions into a folder. */
export async function writeManyViews(folder: string): Promise<void> {
  await Promise.all(["schemas", "views"].map((name) => mkdir(join(folder, name), { recursive: true })));
  for (let stream = 0; stream < STREAMS; stream++) {
    await writeFile(join(folder, "schemas", `${streamName(stream)}.ts`), schemaText(stream));
    await writeFile(join(folder, "views", `${streamName(stream)}.ts`), viewsText(stream));
  }
}

function schemaText(stream: number): string {
  return `import { instant, integer, stream, text } from "tideline";

export const clicks = stream("${streamName(stream)}", {
  revision: 1,
  partitions: 2,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 10_000,
  fields: {
    id: text({ max: 40 }),
    at: instant({ from: "2020-01-01", to: "2040-01-01" }),
    page: text({ max: 60 }),
    country: text({ max: 2 }),
    visitor: text({ max: 20 }),
    ms: integer({ min: 0, max: 600_000 }),
  },
});
`;
}

function viewsText(stream: number): string {
  const views = Array.from({ length: VIEWS_A_STREAM }, (_, view) => {
    const by = GROUPS[view % GROUPS.length];
    const measures = MEASURES[Math.floor(view / GROUPS.length) % MEASURES.length];
    return `export const view${view} = view("${viewName(stream, view)}", {
  stream: clicks, by: { ${by} }, every: "1 minute", measures: { ${measures} },
});
`;
  });
  return `import { avg, count, distinct, max, quantile, sql, sum, topK, view } from "tideline";
import { clicks } from "../schemas/${streamName(stream)}.ts";

${views.join("\n")}`;
}

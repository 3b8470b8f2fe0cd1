import { join } from "node:path";
import { quoteName, quoteText } from "../../core/contract/sql.ts";
import { componentsOf } from "../../core/definition/components.ts";
import type { Comparison, Manifest } from "../../core/log/documents.ts";
import { cutReached, cutsEqual } from "../../core/log/position.ts";
import { mergeSql } from "../../core/state/compile.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";
import { parquet, withDuck } from "../duck-run.ts";
import { writeDelta } from "../refresh/delta.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";
import { newestOf, readNewest } from "../versions/newest.ts";

type ComparedMeasure = Comparison["measures"][number];

/**
 * Compares the served generation with the next one, at the cut of the served version. The next generation's state comes
 * from its newest version, which has to end at or before that cut, and the rest from the archive. Returns null if the
 * next generation is beyond that cut: ask again after a refresh.
 */
export async function compareGenerations(
  stores: BatchStores,
  { served, next }: { readonly served: ViewTarget; readonly next: ViewTarget },
  run: string,
  watch: Watch,
): Promise<Comparison | null> {
  return readNewest(stores, served.generation, async (old) => {
    const { cut } = old;
    const fresh = await newestOf(stores, next.generation);
    const reached = fresh.cut;
    if (!cutReached(cut, reached)) return null;
    await stores.data.requireIntact([...old.files, ...fresh.files]);
    const files = fresh.files.map(({ file }) => file);
    const folder = join("views", next.generation, "rebuilds", run);
    if (!cutsEqual(cut, reached)) {
      const span = { topicId: fresh.topicId, from: reached, to: cut };
      const { file } = await writeDelta(stores, next, { ...span, folder, prefix: "compared" }, watch);
      if (file !== null) files.push(file.file);
    }
    try {
      return await withDuck(stores, watch, (duck) => compare(stores, duck, { served, old, next, files }));
    } finally {
      for (const name of await stores.data.list(folder)) await stores.data.remove(join(folder, name));
    }
  });
}

async function compare(
  stores: BatchStores,
  duck: Duck,
  sides: { served: ViewTarget; old: Manifest; next: ViewTarget; files: readonly string[] },
): Promise<Comparison> {
  const { served, old, next, files } = sides;
  const by = Object.keys(served.view.by).filter((name) => name in next.view.by);
  const { shared, notComparable } = measuresOf(served, next);
  const keep = ["bucket", ...by.map(quoteName)];
  const oldFiles = old.files.map(({ file }) => file);
  for (const [name, target, held] of [
    ["served", served, oldFiles],
    ["next", next, files],
  ] as const) {
    const rows = held.length === 0 ? null : mergeSql(target.view, parquet(stores, held), keep, "wide");
    const empty =
      `SELECT NULL::BIGINT AS bucket, ${by.map((one) => `NULL AS ${quoteName(one)}, `).join("")}'' AS ` +
      "component, 0::BIGINT AS item, NULL::VARCHAR AS label, 0::HUGEINT AS value WHERE false";
    await duck.run(`CREATE OR REPLACE TEMP TABLE ${name} AS ${rows ?? empty}`);
  }
  const same = keep.map((column) => `served.${column} IS NOT DISTINCT FROM next.${column}`).join(" AND ");
  const groups = (side: string) => `(SELECT * FROM ${side} WHERE component = 'rows')`;
  const [counts = []] = await rowsOf(
    duck,
    "SELECT count(*) FILTER (next.value IS NULL), count(*) FILTER (served.value IS NULL), " +
      "count(*) FILTER (served.value IS NOT NULL AND next.value IS NOT NULL) FROM " +
      `${groups("served")} AS served FULL JOIN ${groups("next")} AS next ON ${same}`,
  );
  const measures: ComparedMeasure[] = [];
  for (const [measure, components] of shared) measures.push(await comparedMeasure(duck, keep, measure, components));
  return {
    served: served.generation,
    next: next.generation,
    cut: old.cut,
    by,
    groups: { servedOnly: Number(counts[0]), nextOnly: Number(counts[1]), both: Number(counts[2]) },
    measures,
    notComparable: [
      ...notComparable,
      ...Object.keys({ ...served.view.by, ...next.view.by }).filter((name) => !by.includes(name)),
    ],
  };
}

/** Returns the measures whose components have the same names, forms and merges in both generations. */
function measuresOf(served: ViewTarget, next: ViewTarget) {
  const shared = new Map<string, readonly string[]>();
  const notComparable: string[] = [];
  const stateOf = ({ view }: ViewTarget, measure: string) => {
    const own = view.measures[measure]?.components.map(({ name }) => name) ?? [];
    const keys = new Set(own.map((name) => (name === "rows" ? name : `${measure}.${name}`)));
    return componentsOf(view).filter(({ key }) => keys.has(key));
  };
  for (const measure of Object.keys({ ...served.view.measures, ...next.view.measures })) {
    const [old, fresh] = [stateOf(served, measure), stateOf(next, measure)];
    const kinds = (of: typeof old) => JSON.stringify(of.map(({ key, form, merge }) => [key, form, merge]));
    if (old.length > 0 && kinds(old) === kinds(fresh))
      shared.set(
        measure,
        old.map(({ key }) => key),
      );
    else notComparable.push(measure);
  }
  return { shared, notComparable };
}

async function comparedMeasure(
  duck: Duck,
  keep: readonly string[],
  measure: string,
  components: readonly string[],
): Promise<ComparedMeasure> {
  const wanted = components.map(quoteText).join(", ");
  const state = (side: string) =>
    `(SELECT ${keep.join(", ")}, list((component, item, label, value) ORDER BY component, item, ` +
    `label) AS state FROM ${side} WHERE component IN (${wanted}) GROUP BY ALL)`;
  const same = keep.map((column) => `served.${column} IS NOT DISTINCT FROM next.${column}`).join(" AND ");
  const [counts = []] = await rowsOf(
    duck,
    "SELECT count(*) FILTER (served.state IS NOT DISTINCT FROM next.state), count(*) FILTER (served.state IS " +
      `DISTINCT FROM next.state) FROM ${state("served")} AS served FULL JOIN ${state("next")} AS next ON ${same}`,
  );
  return { measure, equal: Number(counts[0]), different: Number(counts[1]), totals: await totalsOf(duck, components) };
}

/** Returns the totals of a measure; null unless it has a single component that can be added up. */
async function totalsOf(duck: Duck, [component, ...more]: readonly string[]): Promise<ComparedMeasure["totals"]> {
  if (component === undefined || more.length > 0 || !/(^rows|\.sum|\.count)$/.test(component)) return null;
  const total = async (side: string) => {
    const [row] = await rowsOf(
      duck,
      `SELECT coalesce(sum(value), 0)::VARCHAR FROM ${side} WHERE component = ${quoteText(component)}`,
    );
    return String(row?.[0]);
  };
  return { served: await total("served"), next: await total("next") };
}

import type { Sql } from "../../contract/sql.ts";
import { builtMeasure } from "../built-measure.ts";
import { inDecimals } from "../decimals.ts";
import { EXACT, type Measure, presentInteger } from "../measure.ts";
import { plainDecimal, plainInteger, plainPresented } from "../plain-values.ts";
import { chosenScale, type NumberOptions, scaleSpec } from "../scale-option.ts";

/**
 * The numbers of values in the bins between ascending integer `edges`: below the first, `[edge, next edge)`, and from
 * the last on. Edges are in the units of SQL, so 1234 is 12.34 of a decimal field with two places. Presented as a list
 * of { from, to, count }, with bounds in the field's own units. The outermost bins have null for a bound.
 */
export function histogram(input: Sql, options: NumberOptions & { edges: readonly number[] }): Measure {
  return builtMeasure("histogram", options, (scaleOf) => {
    const { edges, unit = "events" } = options;
    const scale = chosenScale(input, options, scaleOf);
    const isEdge = (edge: number, index: number) =>
      Number.isSafeInteger(edge) && edge > (edges[index - 1] ?? Number.NEGATIVE_INFINITY);
    if (!Array.isArray(edges) || edges.length === 0 || edges.length > 200 || !edges.every(isEdge))
      throw new RangeError(`edges are 1 to 200 ascending integers, not ${String(edges)}`);
    const bins = [...edges, null].map((to, index) => ({ from: index === 0 ? null : (edges[index - 1] ?? null), to }));
    const reached = edges.map((edge) => `((${input.text}) >= ${edge})::INTEGER`).join(" + ");
    return {
      kind: "histogram",
      spec: { kind: "histogram", of: input.text, edges, unit, ...scaleSpec(options.scale) },
      unit,
      accuracy: EXACT,
      values: scale === 0 ? "integer" : "decimal",
      scale,
      inputs: [{ sql: input, type: "integer" }],
      components: [
        {
          name: "bins",
          form: "items",
          merge: "sum",
          item: { sql: reached, type: "integer" },
          partial: "count(*)",
          single: "1",
          given: `(${input.text}) IS NOT NULL`,
        },
      ],
      parts: "list",
      present: (state) => {
        const held = state.items("bins");
        return bins.map(({ from, to }, index) => ({
          from: inDecimals(from, scale),
          to: inDecimals(to, scale),
          count: presentInteger(held.get(index) ?? 0n),
        }));
      },
      plain: {
        columns: Object.fromEntries(
          bins.map(({ from, to }, index) => {
            const above = from === null ? "true" : `(${input.text}) >= ${from}`;
            const below = to === null ? "true" : `(${input.text}) < ${to}`;
            const within = `(${input.text}) IS NOT NULL AND ${above} AND ${below}`;
            return [`bin${index}`, { form: "aggregate", sql: `count(*) FILTER (WHERE ${within})` }];
          }),
        ),
        present: (found) =>
          bins.map(({ from, to }, index) => ({
            from: from === null ? null : plainDecimal(BigInt(from), scale),
            to: to === null ? null : plainDecimal(BigInt(to), scale),
            count: plainPresented(plainInteger(found, `bin${index}`)),
          })),
      },
    };
  });
}

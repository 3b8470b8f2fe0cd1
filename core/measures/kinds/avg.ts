import type { Sql } from "../../contract/sql.ts";
import { type Fraction, nearestDouble } from "../../numbers/fraction.ts";
import { builtMeasure } from "../built-measure.ts";
import type { CellState, Measure, PlainFound, PlainTerms } from "../measure.ts";
import { plainInteger, plainQuotient, plainUnits } from "../plain-values.ts";
import { chosenScale, type NumberOptions, scaleSpec } from "../scale-option.ts";

/**
 * The mean of an integer expression, in the units of its decimal fields. Sum and count are exact integers, and their
 * quotient is rounded once, to the nearest double.
 */
export function avg(input: Sql, options: NumberOptions = {}): Measure {
  return builtMeasure("avg", options, (scaleOf) => {
    const { unit = "" } = options;
    const scale = chosenScale(input, options, scaleOf);
    const exact = (state: CellState): Fraction | null => {
      const count = state.integer("count") ?? 0n;
      return count === 0n ? null : { over: state.integer("sum") ?? 0n, under: count * 10n ** BigInt(scale) };
    };
    const terms = (found: PlainFound): PlainTerms => [
      plainInteger(found, "sum") ?? 0n,
      (plainInteger(found, "count") ?? 0n) * plainUnits(scale),
    ];
    return {
      kind: "avg",
      spec: { kind: "avg", of: input.text, unit, ...scaleSpec(options.scale) },
      unit,
      accuracy: { exact: true, error: 0, note: "exact sum over exact count, rounded once to a double" },
      values: "double",
      scale: 0,
      inputs: [{ sql: input, type: "integer" }],
      components: [
        {
          name: "sum",
          form: "integer",
          merge: "sum",
          partial: `sum(${input.text})::BIGINT`,
          single: `(${input.text})::BIGINT`,
        },
        {
          name: "count",
          form: "integer",
          merge: "sum",
          partial: `count(${input.text})`,
          single: `((${input.text}) IS NOT NULL)::INTEGER`,
        },
      ],
      present: (state) => {
        const mean = exact(state);
        return mean === null ? null : nearestDouble(mean);
      },
      exact,
      plain: {
        columns: {
          sum: { form: "aggregate", sql: `sum(${input.text})` },
          count: { form: "aggregate", sql: `count(${input.text})` },
        },
        present: (found) => plainQuotient(terms(found)),
        terms,
      },
    };
  });
}

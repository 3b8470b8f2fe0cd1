import type { Sql } from "../../contract/sql.ts";
import { ceiling, fractionOfText, wholeFraction } from "../../numbers/fraction.ts";
import { builtMeasure } from "../built-measure.ts";
import type { Item, Measure } from "../measure.ts";
import { plainDecimal, plainInteger } from "../plain-values.ts";
import { chosenScale, type NumberOptions, scaleSpec } from "../scale-option.ts";

const AT = [0.5, 0.9, 0.99];

/**
 * Quantiles of an integer expression within a relative error. The values are counted in bins: each power of two is
 * divided into equal ones (as HDR Histogram does, Tene 2012). A quantile is the middle of the bin that contains the
 * value of its rank (nearest rank). The arithmetic uses integers only, so bins are the same on every machine. Zero,
 * negative values and small ones have bins of their own and are exact.
 *
 * @param options.error bound of the relative error, 0.001 to 0.1
 * @param options.at which quantiles, each above 0 and at most 1; 0.5 is presented as `p50`, 0.999 as `p99_9`
 */
export function quantile(
  input: Sql,
  options: NumberOptions & { error?: number; at?: readonly number[] } = {},
): Measure {
  return builtMeasure("quantile", options, (scaleOf) => {
    const { error = 0.01, at = AT, unit = "" } = options;
    if (typeof error !== "number" || !(error >= 0.001 && error <= 0.1))
      throw new RangeError(`error is a number from 0.001 to 0.1, not ${String(error)}`);
    if (!Array.isArray(at) || at.length === 0 || at.some((p) => typeof p !== "number" || !(p > 0 && p <= 1)))
      throw new RangeError(`at is a list of numbers above 0 and up to 1, not ${String(at)}`);
    const scale = chosenScale(input, options, scaleOf);
    const divisions = Math.ceil(1 / (2 * error) - 1e-9);
    // As doubles, 0.07 * 100 is more than 7, which would give rank 8.
    const parts = at.map((p) => ({ name: partName(p), ...(fractionOfText(String(p)) ?? wholeFraction(0n)) }));
    return {
      kind: "quantile",
      spec: { kind: "quantile", of: input.text, error, at, unit, ...scaleSpec(options.scale) },
      unit,
      accuracy: {
        exact: false,
        error,
        note: `nearest rank, within ${Number((error * 100).toFixed(3))} % of the value`,
      },
      values: "double",
      scale: 0,
      inputs: [{ sql: input, type: "integer" }],
      components: [
        {
          name: "bins",
          form: "items",
          merge: "sum",
          item: { sql: binSql(`(${input.text})::BIGINT`, divisions), type: "integer" },
          partial: "count(*)",
          single: "1",
          given: `(${input.text}) IS NOT NULL`,
        },
      ],
      parts: parts.map(({ name }) => name),
      present: (state) => {
        const bins = [...state.items("bins")].sort(([a], [b]) => Number(a) - Number(b));
        const total = bins.reduce((sum, [, count]) => sum + count, 0n);
        const units = 10 ** scale;
        const placed = (value: number | null) => (value === null ? null : value / units);
        return Object.fromEntries(
          parts.map(({ name, over, under }) => {
            const rank = ceiling({ over: over * total, under });
            return [name, placed(valueAt(bins, rank, divisions))];
          }),
        );
      },
      plain: {
        columns: Object.fromEntries(
          at.map((p) => [partName(p), { form: "aggregate", sql: `quantile_disc(${input.text}, ${p})` }]),
        ),
        present: (found) =>
          Object.fromEntries(at.map((p) => [partName(p), plainDecimal(plainInteger(found, partName(p)), scale)])),
        within: error,
      },
    };
  });
}

/** Returns the name of a part: 0.5 -> "p50", 0.999 -> "p99_9". */
function partName(p: number): string {
  return `p${String(Number((p * 100).toFixed(6))).replace(".", "_")}`;
}

/** SQL: the bin of an integer below 2^56 in size. Bins ascend with the values; 0 has bin 0. */
function binSql(value: string, divisions: number): string {
  const size = `abs(${value})`;
  const power = `(length(bin(${size})) - 1)`;
  const base = `(1::BIGINT << ${power})`;
  return (
    `CASE WHEN ${value} = 0 THEN 0 ELSE sign(${value}) * (1 + ${power} * ` +
    `${divisions} + (${size} - ${base}) * ${divisions} // ${base}) END`
  );
}

/**
 * Returns the middle of the bin that contains the value of this rank. Null if there are fewer values. `bins` ascend.
 */
function valueAt(bins: readonly (readonly [Item, bigint])[], rank: bigint, divisions: number): number | null {
  let seen = 0n;
  for (const [bin, count] of bins) {
    seen += count;
    if (seen >= rank) return middleOf(Number(bin), divisions);
  }
  return null;
}

/** Returns the middle of a bin's integers: the value itself if the bin has only one. */
export function middleOf(bin: number, divisions: number): number {
  if (bin === 0) return 0;
  const index = Math.abs(bin) - 1;
  const base = 2 ** Math.floor(index / divisions);
  const part = index % divisions;
  const lowest = base + Math.ceil((part * base) / divisions);
  const highest = base + Math.ceil(((part + 1) * base) / divisions) - 1;
  return (Math.sign(bin) * (lowest + highest)) / 2;
}

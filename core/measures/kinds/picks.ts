import type { Sql } from "../../contract/sql.ts";
import { type Fraction, fractionOfDouble, wholeFraction } from "../../numbers/fraction.ts";
import { builtMeasure } from "../built-measure.ts";
import { inDecimals } from "../decimals.ts";
import { EXACT, integerOf, type Measure, type Presented } from "../measure.ts";
import { plainDecimal, plainPicked, plainTerms, plainUnits } from "../plain-values.ts";
import { chosenScale, type NumberOptions, scaleSpec } from "../scale-option.ts";

function pick(kind: "first" | "last", input: Sql, options: NumberOptions): Measure {
  return builtMeasure(kind, options, (scaleOf) => {
    const { unit = "" } = options;
    const scale = chosenScale(input, options, scaleOf);
    return {
      kind,
      spec: { kind, of: input.text, unit, ...scaleSpec(options.scale) },
      unit,
      accuracy: EXACT,
      values: scale === 0 ? "picked" : "decimal",
      scale,
      inputs: [{ sql: input, type: "any" }],
      components: [
        { name: kind, form: "pick", merge: kind, partial: input.text, given: `(${input.text}) IS NOT NULL` },
      ],
      present: (state) => inDecimals(state.pick(kind) ?? null, scale),
      sortKey: (state) => state.pick(kind) ?? null,
      exact: (state) => {
        const value = fractionOf(state.pick(kind) ?? null);
        return value === null ? null : { over: value.over, under: value.under * 10n ** BigInt(scale) };
      },
      plain: {
        columns: {
          [kind]: {
            form: "aggregate",
            sql:
              `to_json(${kind}(${input.text} ORDER BY _time, _partition, _offset, _line) ` +
              `FILTER (WHERE (${input.text}) IS NOT NULL))::VARCHAR`,
          },
        },
        present: (found) => plainPlaced(plainPick(found.aggregate(kind)), scale),
        terms: (found) => {
          const value = plainTerms(plainPick(found.aggregate(kind)));
          return value === null ? null : [value[0], value[1] * plainUnits(scale)];
        },
      },
    };
  });
}

/** Returns a value with its decimal places. Only a whole number can get them. */
function plainPlaced(value: Presented, scale: number): Presented {
  const isWhole = typeof value !== "boolean" && /^-?[0-9]+$/.test(String(value));
  return scale > 0 && isWhole ? plainDecimal(BigInt(value ?? 0), scale) : value;
}

function plainPick(json: unknown): Presented {
  return typeof json === "string" ? plainPicked(json) : null;
}

/** Returns the number of a value or of its text. Null if it has none. */
function fractionOf(value: Presented): Fraction | null {
  const integer = integerOf(value);
  if (integer !== null) return wholeFraction(integer);
  return value === null || value === "" ? null : fractionOfDouble(Number(value));
}

/** The value of the earliest event that has one. Ties in event time are broken by partition, then by offset. */
export function first(input: Sql, options: NumberOptions = {}): Measure {
  return pick("first", input, options);
}

/** The value of the latest event that has one. Ties in event time are broken by partition, then by offset. */
export function last(input: Sql, options: NumberOptions = {}): Measure {
  return pick("last", input, options);
}

import { type Fraction, fractionOfDouble, wholeNumber } from "../fraction.ts";
import type { Sql } from "../sql.ts";
import { builtMeasure } from "./built-measure.ts";
import { EXACT, type Measure, type Presented } from "./measure.ts";
import { plainPicked, plainTerms } from "./plain-values.ts";

function pick(kind: "first" | "last", input: Sql, options: { unit?: string }): Measure {
  return builtMeasure(kind, () => {
    const { unit = "" } = options;
    return {
      kind,
      spec: { kind, of: input.text, unit },
      unit,
      accuracy: EXACT,
      inputs: [{ sql: input, type: "any" }],
      components: [
        { name: kind, form: "pick", merge: kind, partial: input.text, given: `(${input.text}) IS NOT NULL` },
      ],
      present: (state) => state.pick(kind) ?? null,
      exact: (state) => fractionOf(state.pick(kind) ?? null),
      plain: {
        columns: {
          [kind]: {
            form: "aggregate",
            sql: `to_json(${kind}(${input.text} ORDER BY _time, _partition, _offset, _line) FILTER (WHERE (${input.text}) IS NOT NULL))::VARCHAR`,
          },
        },
        present: (found) => plainPick(found.aggregate(kind)),
        terms: (found) => plainTerms(plainPick(found.aggregate(kind))),
      },
    };
  });
}

function plainPick(json: unknown): Presented {
  return typeof json === "string" ? plainPicked(json) : null;
}

/** The number that a value is, or that its text says; null when it is none. */
function fractionOf(value: Presented): Fraction | null {
  if (typeof value === "string" && /^-?\d+$/.test(value)) return wholeNumber(BigInt(value));
  return value === null || value === "" ? null : fractionOfDouble(Number(value));
}

/** The value of the earliest event that has one. Ties in event time are broken by partition, then by offset. */
export function first(input: Sql, options: { unit?: string } = {}): Measure {
  return pick("first", input, options);
}

/** The value of the latest event that has one. Ties in event time are broken by partition, then by offset. */
export function last(input: Sql, options: { unit?: string } = {}): Measure {
  return pick("last", input, options);
}

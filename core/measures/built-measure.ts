import { argumentProblem } from "../contract/built-field.ts";
import { type Described, describedBy } from "../contract/described.ts";
import { sqlProblem } from "../contract/sql.ts";
import { EXACT, type Measure, type ScaleOf } from "./measure.ts";

const WHOLE: ScaleOf = () => 0;

/**
 * Returns the measure that `build` makes, as `builtField` does: if an argument is wrong, the measure carries the
 * problem, and start-up reports it with file and field. The decimal places of fields are known when a view binds the
 * measure to its stream (`withScales`). Until then all numbers are integers.
 */
export function builtMeasure(kind: string, options: Described, build: (scaleOf: ScaleOf) => Measure): Measure {
  try {
    const described = describedBy(options);
    const measure = { ...build(WHOLE), ...described };
    for (const { sql } of measure.inputs) {
      const problem = sqlProblem(sql);
      if (problem !== null) throw new RangeError(problem);
    }
    if (typeof measure.unit !== "string") throw new RangeError(`a unit is text, not ${String(measure.unit)}`);
    return { ...measure, withScales: (scaleOf) => ({ ...build(scaleOf), ...described }) };
  } catch (error) {
    return brokenMeasure(kind, `${kind}: ${argumentProblem(error)}`);
  }
}

function brokenMeasure(kind: string, problem: string): Measure {
  const present = () => null;
  const plain = { columns: {}, present };
  const nothing = { unit: "", accuracy: EXACT, values: "integer", scale: 0, inputs: [], components: [] } as const;
  return { kind, spec: { kind }, ...nothing, present, plain, problem };
}

import { argumentProblem } from "../contract/built-field.ts";
import { type Described, describedBy } from "../contract/described.ts";
import { sqlProblem } from "../contract/sql.ts";
import { EXACT, type Measure, type ScaleOf } from "./measure.ts";

const WHOLE: ScaleOf = () => 0;

/**
 * As `builtField`: a wrong argument makes a measure that carries its problem, which start-up reports with file and
 * field. The places of decimal fields are known when a view binds the measure to its stream (`withScales`); until then
 * all numbers are integers.
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

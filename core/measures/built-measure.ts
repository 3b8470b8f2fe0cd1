import { argumentProblem } from "../built-field.ts";
import { sqlProblem } from "../sql.ts";
import { EXACT, type Measure } from "./measure.ts";

/** As `builtField`: a wrong argument makes a measure that carries its problem, which start-up reports with file and field. */
export function builtMeasure(kind: string, build: () => Measure): Measure {
  try {
    const measure = build();
    for (const { sql } of measure.inputs) {
      const problem = sqlProblem(sql);
      if (problem !== null) throw new RangeError(problem);
    }
    if (typeof measure.unit !== "string") throw new RangeError(`a unit is text, not ${String(measure.unit)}`);
    return measure;
  } catch (error) {
    return brokenMeasure(kind, `${kind}: ${argumentProblem(error)}`);
  }
}

function brokenMeasure(kind: string, problem: string): Measure {
  const present = () => null;
  const plain = { columns: {}, present };
  return { kind, spec: { kind }, unit: "", accuracy: EXACT, inputs: [], components: [], present, plain, problem };
}

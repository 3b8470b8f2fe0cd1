import type { Described } from "../../contract/described.ts";
import { divide, type Fraction, nearestDouble } from "../../numbers/fraction.ts";
import { builtMeasure } from "../built-measure.ts";
import {
  type Accuracy,
  type CellState,
  type Component,
  type Measure,
  type PlainFound,
  type PlainTerms,
  ROWS,
} from "../measure.ts";
import { plainQuotient } from "../plain-values.ts";
import { isHundredths } from "../scale-option.ts";

/**
 * One measure divided by another, such as purchases by views. Both keep their own state. The quotient of both exact
 * numbers is rounded once, to the nearest double, even if one of them is an average. Null where the lower one is null
 * or zero. Both have to present a number.
 */
export function ratio(over: Measure, under: Measure, options: { unit?: string } & Described = {}): Measure {
  return builtMeasure("ratio", options, (scaleOf) => {
    const { unit = "" } = options;
    // With a unit such as cents, the upper measure stays in the units of its field, which are hundredths.
    const ofAmount: typeof scaleOf = (sql) => (isHundredths(unit) && scaleOf(sql) === 2 ? 0 : scaleOf(sql));
    const [top, bottom] = [over.withScales?.(ofAmount) ?? over, under.withScales?.(scaleOf) ?? under];
    for (const side of [top, bottom]) if (side.problem !== undefined) throw new RangeError(side.problem);
    if (top.exact === undefined || bottom.exact === undefined)
      throw new RangeError(`two measures of one number each are divided, not ${top.kind} and ${bottom.kind}`);
    const exact = (state: CellState): Fraction | null => {
      const [over, under] = [
        top.exact?.(within("top", state)) ?? null,
        bottom.exact?.(within("bottom", state)) ?? null,
      ];
      return over === null || under === null ? null : divide(over, under);
    };
    const terms = (found: PlainFound): PlainTerms | null => {
      const [over, under] = [
        top.plain.terms?.(plainWithin("top", found)) ?? null,
        bottom.plain.terms?.(plainWithin("bottom", found)) ?? null,
      ];
      return over === null || under === null ? null : [over[0] * under[1], over[1] * under[0]];
    };
    return {
      kind: "ratio",
      spec: { kind: "ratio", top: top.spec, bottom: bottom.spec, unit },
      unit,
      accuracy: accuracyOf(top.accuracy, bottom.accuracy),
      values: "double",
      scale: 0,
      inputs: [...top.inputs, ...bottom.inputs],
      components: [...prefixed("top", top), ...prefixed("bottom", bottom)],
      present: (state) => {
        const quotient = exact(state);
        return quotient === null ? null : nearestDouble(quotient);
      },
      exact,
      plain: {
        columns: Object.fromEntries(
          Object.entries({ top, bottom }).flatMap(([side, { plain }]) =>
            Object.entries(plain.columns).map(([name, column]) => [`${side}.${name}`, column]),
          ),
        ),
        present: (found) => {
          const asked = terms(found);
          return asked === null ? null : plainQuotient(asked);
        },
        terms,
      },
    };
  });
}

function accuracyOf(top: Accuracy, bottom: Accuracy): Accuracy {
  if (top.exact && bottom.exact)
    return { exact: true, error: 0, note: "quotient of two exact numbers, rounded once to a double" };
  return { exact: false, error: top.error + bottom.error, note: "quotient; the errors of both add up" };
}

function prefixed(side: string, { components }: Measure): Component[] {
  return components.map((component) =>
    component.name === ROWS.name ? component : { ...component, name: `${side}.${component.name}` },
  );
}

function within(side: string, state: CellState): CellState {
  const name = (component: string) => (component === ROWS.name ? component : `${side}.${component}`);
  return {
    integer: (component) => state.integer(name(component)),
    items: (component) => state.items(name(component)),
    pick: (component) => state.pick(name(component)),
    registers: (component) => state.registers(name(component)),
  };
}

function plainWithin(side: string, found: PlainFound): PlainFound {
  return {
    aggregate: (column) => found.aggregate(`${side}.${column}`),
    items: (column) => found.items(`${side}.${column}`),
    registers: (column) => found.registers(`${side}.${column}`),
  };
}

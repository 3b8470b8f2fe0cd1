import {
  type Accuracy,
  type CellState,
  type Component,
  type Measure,
  type PlainFound,
  type PresentedField,
  ROWS,
} from "./measure.ts";

/**
 * One measure divided by another, such as purchases by views: both keep their own state, and only what is presented is divided.
 * Null where the lower one is null or zero. Both have to present a number.
 */
export function ratio(top: Measure, bottom: Measure, options: { unit?: string } = {}): Measure {
  if (top.parts !== undefined || bottom.parts !== undefined)
    throw new RangeError(`a ratio needs two measures of one number each, not ${top.kind} and ${bottom.kind}`);
  const { unit = "" } = options;
  return {
    kind: "ratio",
    spec: { kind: "ratio", top: top.spec, bottom: bottom.spec, unit },
    unit,
    accuracy: accuracyOf(top.accuracy, bottom.accuracy),
    inputs: [...top.inputs, ...bottom.inputs],
    components: [...prefixed("top", top), ...prefixed("bottom", bottom)],
    present: (state) => quotient(top.present(within("top", state)), bottom.present(within("bottom", state))),
    plain: {
      columns: Object.fromEntries(
        Object.entries({ top, bottom }).flatMap(([side, { plain }]) =>
          Object.entries(plain.columns).map(([name, column]) => [`${side}.${name}`, column]),
        ),
      ),
      present: (found) =>
        quotient(top.plain.present(plainWithin("top", found)), bottom.plain.present(plainWithin("bottom", found))),
    },
  };
}

function quotient(over: PresentedField, under: PresentedField): number | null {
  return over === null || under === null || Number(under) === 0 ? null : Number(over) / Number(under);
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

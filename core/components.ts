import { type Component, type Measure, ROWS } from "./measures/measure.ts";
import type { View } from "./view.ts";

/** A component under the name that state rows carry: "rows", or "<measure>.<component>". */
export interface NamedComponent extends Component {
  readonly key: string;
}

export function componentKey(measure: string, component: string): string {
  return component === ROWS.name ? ROWS.name : `${measure}.${component}`;
}

function named(measure: string, definition: Measure): NamedComponent[] {
  return definition.components.map((component) => ({ ...component, key: componentKey(measure, component.name) }));
}

/** Every component of a view's state, `rows` first, each once. */
export function componentsOf(view: View): NamedComponent[] {
  const all = Object.entries(view.measures).flatMap(([name, measure]) => named(name, measure));
  return [{ ...ROWS, key: ROWS.name }, ...all.filter(({ key }) => key !== ROWS.name)];
}

import { quoteName } from "../contract/sql.ts";
import { type Component, type Measure, ROWS } from "../measures/measure.ts";
import type { View } from "./view.ts";

/** A component with its name in state rows: "rows", or "<measure>.<component>". */
export interface NamedComponent extends Component {
  readonly key: string;
}

export function componentKey(measure: string, component: string): string {
  return component === ROWS.name ? ROWS.name : `${measure}.${component}`;
}

function named(measure: string, definition: Measure): NamedComponent[] {
  return definition.components.map((component) => ({ ...component, key: componentKey(measure, component.name) }));
}

/** The times of the first and last event of a cell. Sessions are joined by them. */
export const SESSION_FIRST = "session.first";
export const SESSION_LAST = "session.last";

function ofSessions({ stream, sessions }: View): NamedComponent[] {
  if (sessions === null) return [];
  const time = quoteName(stream.eventTime);
  return [
    { key: SESSION_FIRST, name: "first", form: "integer", merge: "min", partial: `min(${time})`, single: time },
    { key: SESSION_LAST, name: "last", form: "integer", merge: "max", partial: `max(${time})`, single: time },
  ];
}

/** Returns every component of a view's state, `rows` first, each once. */
export function componentsOf(view: View): NamedComponent[] {
  const all = Object.entries(view.measures).flatMap(([name, measure]) => named(name, measure));
  return [{ ...ROWS, key: ROWS.name }, ...ofSessions(view), ...all.filter(({ key }) => key !== ROWS.name)];
}

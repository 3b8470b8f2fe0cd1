import { EXACT, type Measure, presentInteger, ROWS } from "./measure.ts";

/** How many events the view counted. 0 where a group has none. */
export function count(options: { unit?: string } = {}): Measure {
  return {
    kind: "count",
    unit: options.unit ?? "events",
    accuracy: EXACT,
    inputs: [],
    components: [ROWS],
    present: (state) => presentInteger(state.integer(ROWS.name) ?? 0n),
  };
}

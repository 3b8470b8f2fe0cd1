import type { Measure } from "./measures/measure.ts";
import type { Sql } from "./sql.ts";
import type { Stream } from "./stream.ts";
import { parseDuration } from "./time.ts";

export interface ViewDefinition {
  readonly stream: Stream;
  /** Events for which this is not true are filtered: in the ledger, in no measure. */
  readonly where?: Sql;
  /** Dimensions, each an expression over one event. */
  readonly by?: Readonly<Record<string, Sql>>;
  /** The time grain, in event time: "1 minute", "1 day". */
  readonly every: string;
  readonly measures: Readonly<Record<string, Measure>>;
  /** Cells (bucket x group x component) that Redis may hold for this view between two cuts before it refuses more. */
  readonly maxCells?: number;
}

/** A view: what is measured, of which stream, grouped how. */
export interface View {
  readonly kind: "view";
  readonly name: string;
  readonly stream: Stream;
  readonly where: Sql | null;
  readonly by: Readonly<Record<string, Sql>>;
  readonly every: string;
  readonly grainMs: number;
  readonly measures: Readonly<Record<string, Measure>>;
  readonly maxCells: number;
}

/** Defines a view. What is wrong with a definition is found at start-up, with file and field. */
export function view(name: string, definition: ViewDefinition): View {
  const { stream, where = null, by = {}, every, measures, maxCells = 2_000_000 } = definition;
  return { kind: "view", name, stream, where, by, every, grainMs: parseDuration(every) ?? 0, measures, maxCells };
}

/** Columns of state rows beside the dimensions. */
const RESERVED: ReadonlySet<string> = new Set(["bucket", "component", "item", "value"]);

/** What is wrong with a view that can be seen without a database: one sentence per problem, naming the field. */
export function checkViewShape(definition: View): string[] {
  const problems: string[] = [];
  const name = /^[a-z][a-z0-9-]{0,62}$/;
  const column = /^[a-z][a-z0-9_]{0,62}$/;
  if (!name.test(definition.name))
    problems.push(`name "${definition.name}": use lower-case letters, digits and dashes`);
  if (definition.grainMs <= 0)
    problems.push(`every: "${definition.every}" is no duration such as "1 minute" or "1 day"`);
  if (Object.keys(definition.measures).length === 0) problems.push("measures: a view needs at least one");
  for (const field of [...Object.keys(definition.by), ...Object.keys(definition.measures)]) {
    if (!column.test(field)) problems.push(`"${field}": use lower-case letters, digits and underscores`);
    if (RESERVED.has(field)) problems.push(`"${field}" is a column of every view's state`);
  }
  for (const field of Object.keys(definition.measures)) {
    if (field in definition.by) problems.push(`measures.${field}: a dimension has this name already`);
  }
  return problems;
}

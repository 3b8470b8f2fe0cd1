import { column, identifier, literal } from "../text/literals.ts";
import type { ProposedMeasure, ProposedView } from "./measures.ts";

/**
 * Returns the text of a view's file. The stream's file has the stream's name; `schemas` is its folder in the form of an
 * import.
 */
export function viewText(stream: string, name: string, { by, every, measures }: ProposedView, schemas: string): string {
  const constant = identifier(stream, "Stream");
  const builders = new Set(["view", ...measures.map(({ builder }) => builder)]);
  if (by !== null || measures.some(({ field }) => field !== null)) builders.add("sql");
  const own = identifier(name, "View");
  return [
    `import { ${[...builders].sort().join(", ")} } from "tideline";`,
    `import { ${constant} } from ${literal(`${schemas}/${stream}.ts`)};`,
    "",
    `export const ${own === constant ? `${own}View` : own} = view(${literal(name)}, {`,
    `  stream: ${constant},`,
    ...(by === null ? [] : [`  by: { ${by.name}: sql\`${column(by.field)}\` },`]),
    `  every: ${literal(every)},`,
    "  measures: {",
    ...measures.map((measure) => `    ${measure.name}: ${measureText(measure)},`),
    "  },",
    "});",
    "",
  ].join("\n");
}

function measureText({ builder, field }: ProposedMeasure): string {
  return field === null ? `${builder}()` : `${builder}(sql\`${column(field)}\`)`;
}

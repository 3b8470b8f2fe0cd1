/** A fragment of SQL written by the author of a definition. It is never built from a client's input. */
export interface Sql {
  readonly text: string;
  /** The problem with the fragment. Absent if none can be seen without a database. */
  readonly problem?: string;
}

/** A fragment, such as sql`amount_cents * quantity`. Other fragments may be interpolated, values may not. */
export function sql(strings: TemplateStringsArray, ...parts: Sql[]): Sql {
  const text = strings.reduce((before, piece, index) => before + piece + (parts[index]?.text ?? ""), "").trim();
  const problem = parts.map(sqlProblem).find((found) => found !== null);
  return problem === undefined ? { text } : { text, problem: `an interpolated part ${problem}` };
}

/** Returns the problem with a value that should be SQL, as a part of a sentence. Null if none can be seen here. */
export function sqlProblem(value: unknown): string | null {
  const { text, problem } = (value ?? {}) as Partial<Sql>;
  if (typeof text !== "string") return "is not SQL: write sql`…`";
  return problem ?? (text === "" ? "is empty SQL" : null);
}

/** An identifier, quoted for DuckDB. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string literal, quoted for DuckDB. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

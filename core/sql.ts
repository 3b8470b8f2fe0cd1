/** A fragment of SQL written by the author of a definition; never built from anything a client sends. */
export interface Sql {
  readonly text: string;
}

/** sql`amount_cents * quantity`; other fragments may be interpolated, values may not. */
export function sql(strings: TemplateStringsArray, ...parts: Sql[]): Sql {
  return { text: strings.reduce((text, piece, index) => text + piece + (parts[index]?.text ?? ""), "").trim() };
}

/** An identifier, quoted for DuckDB. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string literal, quoted for DuckDB. */
export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

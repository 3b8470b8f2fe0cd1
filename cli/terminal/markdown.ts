/** Parts of Markdown documents. Texts of events and definitions may contain Markdown or HTML, so they are escaped. */

/** Returns a list. A text that begins with spaces is nested below the item before it. */
export function items(texts: readonly string[]): string[] {
  return texts.length === 0 ? [] : ["", ...texts.map((text) => (text.startsWith("  ") ? text : `- ${escaped(text)}`))];
}

/** Returns a row of a table. */
export function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

/** Returns text that is shown as it is. A text that begins with a backtick is `code` already. */
export function escaped(text: string): string {
  return text.startsWith("`") ? text : text.replaceAll(/[\\`*_[\]<>&|]/g, (one) => `\\${one}`);
}

/** Returns text as code, whatever backticks it contains. */
export function code(text: string): string {
  const runs = [...text.matchAll(/`+/g)].map(([run]) => run.length);
  const fence = "`".repeat(Math.max(0, ...runs) + 1);
  const room = text.startsWith("`") || text.endsWith("`") ? " " : "";
  return `${fence}${room}${text.replaceAll("\n", " ")}${room}${fence}`;
}

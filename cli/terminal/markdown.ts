/** Parts of Markdown documents. Text of events and definitions may be Markdown or HTML itself. */

/** A list; what begins with spaces lies below the item before it. */
export function items(texts: readonly string[]): string[] {
  return texts.length === 0 ? [] : ["", ...texts.map((text) => (text.startsWith("  ") ? text : `- ${escaped(text)}`))];
}

/** A row of a table. */
export function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

/** Text that is shown as it is. What begins with a backtick is `code` already. */
export function escaped(text: string): string {
  return text.startsWith("`") ? text : text.replaceAll(/[\\`*_[\]<>&|]/g, (one) => `\\${one}`);
}

/** Text as it is, whatever backticks are in it. */
export function code(text: string): string {
  const runs = [...text.matchAll(/`+/g)].map(([run]) => run.length);
  const fence = "`".repeat(Math.max(0, ...runs) + 1);
  const room = text.startsWith("`") || text.endsWith("`") ? " " : "";
  return `${fence}${room}${text.replaceAll("\n", " ")}${room}${fence}`;
}

/** Text for HTML: everything in a report that a producer sent goes through here. */
export function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export interface Column {
  readonly head: string;
  readonly numeric?: boolean;
}

/** A table whose cells are HTML already. */
export function tableOf(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const classOf = (index: number) => (columns[index]?.numeric === true ? ' class="n"' : "");
  const head = columns.map(({ head: text }, index) => `<th${classOf(index)}>${escaped(text)}</th>`).join("");
  const body = rows.map((row) => `<tr>${row.map((cell, index) => `<td${classOf(index)}>${cell}</td>`).join("")}</tr>`);
  return (
    `<div class="scroll"><table class="rows"><thead><tr>${head}` +
    `</tr></thead><tbody>\n` +
    `${body.join("\n")}\n` +
    "</tbody></table></div>"
  );
}

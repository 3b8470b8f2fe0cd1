/** Returns a count with its noun, "1 part" or "2 parts". `noun` is in the singular. */
export function amount(count: number | bigint, noun: string): string {
  return `${count} ${noun}${Number(count) === 1 ? "" : "s"}`;
}

/** "1 part", "2 parts": a count with what is counted, which is given in the singular. */
export function amount(count: number | bigint, noun: string): string {
  return `${count} ${noun}${Number(count) === 1 ? "" : "s"}`;
}

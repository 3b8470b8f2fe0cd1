/** Returns the number of a text of digits, from 0. Null for any other text, and beyond 2^53. */
export function wholeNumberOf(text: string): number | null {
  const value = Number(text);
  return /^\d+$/.test(text) && Number.isSafeInteger(value) ? value : null;
}

/** The number that digits say, from 0; null for any other text, and beyond 2^53. */
export function wholeNumberOf(text: string): number | null {
  const value = Number(text);
  return /^\d+$/.test(text) && Number.isSafeInteger(value) ? value : null;
}

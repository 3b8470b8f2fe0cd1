/** Returns milliseconds as seconds for people; "-" for null. */
export function seconds(ms: number | null): string {
  return ms === null ? "-" : `${(ms / 1_000).toFixed(1)} s`;
}

/** For tests: the fields of a listed view that the page reads. */
interface ListedView {
  readonly name: string;
  readonly grain: string;
  readonly sessions: boolean;
  readonly ready: boolean;
  readonly complete: boolean;
  readonly freshnessMs: number;
  readonly changedMs: number | null;
  readonly problems?: readonly unknown[];
}

export function durationMs(text: string): number | null;
export function widths(grain: string): string[];
export function spanFor(width: string): string;
export function startingView<T extends ListedView>(views: readonly T[]): T | undefined;
export function age(ms: number): string;
export function changedText(view: ListedView): string;
export function stateOf(view: ListedView): { readonly good: boolean; readonly text: string };
export function unitOf(column: { readonly unit: string; readonly column: string; readonly measure: string }): string;
export function dimensionText(value: unknown): string;
export function linesOf<T extends { readonly bucket: string }>(
  rows: readonly T[],
  line: { readonly group: ((row: T) => unknown) | null; readonly name: string; readonly value: (row: T) => unknown },
): readonly {
  readonly id: string;
  readonly name: string;
  readonly size: number;
  readonly points: readonly (readonly [number, number | null])[];
}[];
export function alertsTitle(open: {
  readonly alerts: readonly { readonly severity: string | null }[];
  readonly found: number;
  readonly isFresh: boolean;
}): string;
export function shellWord(text: string): string;

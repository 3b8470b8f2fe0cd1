/** The reason for which a row is not sent. */
export interface Refusal {
  /** The wrong field; absent if the whole row is wrong. */
  readonly column?: string;
  /** The wrong value, cut short. */
  readonly value?: string;
  readonly reason: string;
  /** How to correct it. */
  readonly advice?: string;
}

export interface InvalidRow extends Refusal {
  /** The row's number in the data, from 1, not counting a header. */
  readonly row: number;
  /** Line of a text file, from 1. */
  readonly line?: number;
}

const SHOWN_UNITS = 80;

/** Returns a value in the form of a sentence. */
export function shown(value: string): string {
  return JSON.stringify(value.length > SHOWN_UNITS ? `${value.slice(0, SHOWN_UNITS)}…` : value);
}

/** Returns a text such as `row 12, line 14, total: "12,50" is not a number. Write 12.50, or add --decimal-comma.` */
export function refusalText({ row, line, column, value, reason, advice }: InvalidRow): string {
  const place = [
    `row ${row}`,
    ...(line === undefined || line === row ? [] : [`line ${line}`]),
    ...(column === undefined ? [] : [column]),
  ];
  const what = value === undefined ? reason : `${shown(value)} ${reason}`;
  return `${place.join(", ")}: ${what}${advice === undefined ? "" : `. ${advice}`}`;
}

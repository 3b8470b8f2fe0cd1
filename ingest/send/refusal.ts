/** Why a row is not sent. */
export interface Refusal {
  /** The field that is wrong; absent when it is the row. */
  readonly column?: string;
  /** What stands there, cut short. */
  readonly value?: string;
  readonly reason: string;
  /** What would be right. */
  readonly advice?: string;
}

export interface InvalidRow extends Refusal {
  /** Row of the data, from 1; a header is none. */
  readonly row: number;
  /** Line of a text file, from 1. */
  readonly line?: number;
}

const SHOWN_UNITS = 80;

/** A value as it is named in a sentence. */
export function shown(value: string): string {
  return JSON.stringify(value.length > SHOWN_UNITS ? `${value.slice(0, SHOWN_UNITS)}…` : value);
}

/** `row 12, line 14, total: "12,50" is not a number. Write 12.50, or add --decimal-comma.` */
export function refusalText({ row, line, column, value, reason, advice }: InvalidRow): string {
  const place = [
    `row ${row}`,
    ...(line === undefined || line === row ? [] : [`line ${line}`]),
    ...(column === undefined ? [] : [column]),
  ];
  const what = value === undefined ? reason : `${shown(value)} ${reason}`;
  return `${place.join(", ")}: ${what}${advice === undefined ? "" : `. ${advice}`}`;
}

import type { PresentedField } from "../../core/measures/measure.ts";
import type { CheckReport, CheckStatus, StreamCheck, ViewCheck } from "../../store/check/check.ts";
import type { ChangedCell, ViewDifferences } from "../../store/check/compare-views.ts";
import type { Finding, FoundRecord } from "../../store/check/findings.ts";
import type { ReadRecords } from "../../store/check/readings.ts";
import { printable, printableLines } from "../terminal/printable.ts";

/** At most this many characters of a value are shown. */
const MOST = 80;

const STATUS: Readonly<Record<CheckStatus, string>> = {
  same: "the same",
  changed: "changed",
  new: "new, nothing runs of it",
  removed: "removed: it is served, and no file defines it",
};

/** The kinds of findings, worded for a sentence about records. */
const KINDS: Readonly<Record<string, string>> = {
  refused: "would be refused",
  accepted: "would be accepted, and are refused now",
  duplicate: "would be duplicates",
  "no duplicate": "would be duplicates no more",
  "read differently": "would be read differently",
  "counted no more": "would not be counted any more",
  "counted now": "would be counted, and are not now",
  "counted otherwise": "would be counted otherwise",
};

/** Returns a report for a terminal. */
export function checkText(report: CheckReport): string {
  const lines = [
    ...report.streams.flatMap((stream) => [heading("stream", stream.stream, stream), ...streamLines(stream)]),
    ...report.views.flatMap((view) => [heading("view", view.view, view), ...viewLines(view)]),
    "",
    verdict(report),
  ];
  return printableLines(`${lines.join("\n").trimStart()}\n`);
}

/** Returns the report's result as a sentence. */
export function verdict({ same, last }: CheckReport): string {
  return same
    ? `No differences in the last ${last.toLocaleString("en-US")} records of each stream.`
    : `There are differences in the last ${last.toLocaleString("en-US")} records, or the roles would not start.`;
}

function heading(
  kind: string,
  name: string,
  { status, read }: { status: CheckStatus; read: ReadRecords | null },
): string {
  return `\n${kind} ${name}: ${STATUS[status]}${read === null ? "" : `, compared over ${recordsText(read)}`}`;
}

/** Returns how many records were compared, and their positions. */
export function recordsText({ records, from, to }: ReadRecords): string {
  const spans = Object.keys(to).flatMap((partition) =>
    from[partition] === to[partition] ? [] : [`${partition}:${from[partition]}-${to[partition]}`],
  );
  return `${records.toLocaleString("en-US")} records (${spans.join(" ") || "the log is empty"})`;
}

function streamLines({ changes, refusals, findings }: StreamCheck): string[] {
  return [
    ...refusals.map((refusal) => `  would not start: ${refusal}`),
    ...changes.map((change) => `  ${change}`),
    ...findings.flatMap(findingLines),
  ];
}

function viewLines({ changes, notCompared, differences }: ViewCheck): string[] {
  return [
    ...changes.map((change) => `  ${change}`),
    ...(notCompared.length === 0 ? [] : [`  only one of the two has ${notCompared.join(", ")}`]),
    ...(differences === null ? [] : differenceLines(differences)),
  ];
}

function differenceLines({ cells, measures, examples, records }: ViewDifferences): string[] {
  return [
    `  cells: ${cells.before} before, ${cells.after} after, ${cells.different} different`,
    ...Object.entries(measures).map(
      ([name, { different, before, after }]) =>
        `  ${name}: ${different} cells different, total ${totalText(before, after)}`,
    ),
    ...examples.map((cell) => `    ${cellText(cell)}`),
    ...records.flatMap(findingLines),
  ];
}

function totalText(before: unknown, after: unknown): string {
  const isSame = JSON.stringify(before) === JSON.stringify(after);
  return isSame ? valueText(before) : `${valueText(before)} -> ${valueText(after)}`;
}

/** Returns a cell with its values before and after. */
export function cellText({ cell, before, after }: ChangedCell): string {
  return `${Object.values(cell).map(valueText).join(" ")}: ${sideText(before)} -> ${sideText(after)}`;
}

function sideText(values: Readonly<Record<string, PresentedField>> | null): string {
  if (values === null) return "no cell";
  return Object.entries(values)
    .map(([name, value]) => `${name} ${valueText(value)}`)
    .join(", ");
}

function findingLines(finding: Finding<string>): string[] {
  return [`  ${findingText(finding)}`, ...finding.examples.map((one) => `    ${exampleText(one)}`)];
}

/** Returns a sentence without its full stop. */
export function findingText({ kind, detail, records }: Finding<string>): string {
  return `${records.toLocaleString("en-US")} record${records === 1 ? "" : "s"} ${KINDS[kind] ?? kind}: ${detail}`;
}

/** Returns a record with its results before and after. */
export function exampleText({ position, eventId, before, after }: FoundRecord): string {
  const values = before === null && after === null ? "" : `  ${valueText(before)} -> ${valueText(after)}`;
  return `${position}${eventId === null ? "" : ` ${eventId}`}${values}`;
}

/** Returns a value on one line, cut if it is long. */
export function valueText(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return printable(text.length > MOST ? `${text.slice(0, MOST)}…` : text);
}

import type { CheckReport, StreamCheck, ViewCheck } from "../../store/check/check.ts";
import { code, escaped, items, row } from "../terminal/markdown.ts";
import { printableLines } from "../terminal/printable.ts";
import { cellText, exampleText, findingText, recordsText, valueText, verdict } from "./check-text.ts";

/** Returns a report for a pull request. */
export function checkMarkdown(report: CheckReport): string {
  const changed = <T extends StreamCheck | ViewCheck>(all: readonly T[]) =>
    all.filter(({ status }) => status !== "same");
  const same =
    [...report.streams, ...report.views].length - changed(report.streams).length - changed(report.views).length;
  const lines = [
    "## Definitions against the log",
    "",
    verdict(report),
    ...changed(report.streams).flatMap((stream) => [
      "",
      `### Stream ${code(stream.stream)}: ${stream.status}`,
      ...streamLines(stream),
    ]),
    ...changed(report.views).flatMap((view) => ["", `### View ${code(view.view)}: ${view.status}`, ...viewLines(view)]),
    ...(same === 0 ? [] : ["", `${same} other streams and views are the same.`]),
  ];
  return printableLines(`${lines.join("\n")}\n`);
}

function streamLines({ refusals, changes, read, findings }: StreamCheck): string[] {
  return [
    ...items([...refusals.map((one) => `The roles would not start: ${one}`), ...changes]),
    ...(read === null ? [] : ["", `Compared over ${recordsText(read)}.`]),
    ...items(findings.flatMap(findingItems)),
  ];
}

function viewLines({ changes, notCompared, read, differences }: ViewCheck): string[] {
  const apart = notCompared.length === 0 ? [] : [`Only one of the two has ${notCompared.map(code).join(", ")}`];
  const above = [
    ...items([...changes, ...apart]),
    ...(read === null ? [] : ["", `Compared over ${recordsText(read)}.`]),
  ];
  if (differences === null) return above;
  const { cells, measures, examples, records } = differences;
  const rows = Object.entries(measures).map(([name, { different, before, after }]) =>
    row([code(name), String(different), code(valueText(before)), code(valueText(after))]),
  );
  return [
    ...above,
    "",
    `Cells: ${cells.before} before, ${cells.after} after, ${cells.different} different.`,
    ...[
      "",
      row(["measure", "cells different", "total before", "total after"]),
      row(["---", "---:", "---:", "---:"]),
      ...rows,
    ],
    ...items(examples.map((cell) => code(cellText(cell)))),
    ...items(records.flatMap(findingItems)),
  ];
}

function findingItems(finding: Parameters<typeof findingText>[0]): string[] {
  return [escaped(findingText(finding)), ...finding.examples.map((one) => `  - ${code(exampleText(one))}`)];
}

import type { CutJson } from "../../core/log/position.ts";
import { printableLines } from "../terminal/printable.ts";
import { seconds } from "../terminal/seconds.ts";
import { draw, type Sheet } from "../terminal/sheet.ts";
import type { Findings, Report } from "./report.ts";

/** Returns the report for people: a table for each kind that has rows, then the problems. */
export async function reportText({ servers, streams, views, schedules, problems }: Report): Promise<string> {
  const sheets = [serverSheet(servers), streamSheet(streams), viewSheet(views), scheduleSheet(schedules)];
  const tables = await Promise.all(sheets.filter(({ rows }) => rows.length > 0).map(draw));
  const verdict = problems.length === 0 ? "all healthy" : problems.map((problem) => `! ${problem}`).join("\n");
  return `${[...tables, printableLines(verdict)].join("\n")}\n`;
}

function serverSheet(servers: Findings["servers"]): Sheet {
  return {
    head: ["server", "address", "answers"],
    right: [],
    rows: servers.map(({ server, address, reachable }) => [server, address, reachable ? "yes" : "NO"]),
  };
}

function streamSheet(streams: Findings["streams"]): Sheet {
  return {
    head: ["stream", "partition", "log end", "archived", "positions behind"],
    right: ["partition", "log end", "archived", "positions behind"],
    rows: streams.flatMap(({ stream, partitions }) =>
      partitions.map((one) => [stream, `${one.partition}`, one.logEnd, one.archived, `${one.positionsBehind}`]),
    ),
  };
}

function viewSheet(views: Findings["views"]): Sheet {
  return {
    head: ["view", "generation", "version", "batch cut", "applied", "positions behind", "fresh", "complete"],
    right: ["version", "positions behind", "fresh"],
    rows: views.map((one) => [
      one.view,
      one.generation.slice(one.view.length + 1),
      `${one.version ?? "-"}`,
      cutText(one.cut),
      cutText(one.applied),
      `${one.positionsBehind ?? "-"}`,
      seconds(one.freshnessMs),
      one.complete ? "yes" : "NO",
    ]),
  };
}

function scheduleSheet(schedules: Findings["schedules"]): Sheet {
  return {
    head: ["schedule", "paused", "next run", "last result"],
    right: [],
    rows: schedules.map(({ schedule, paused, nextRun, lastResult }) => [
      schedule,
      paused ? "yes" : "no",
      nextRun ?? "-",
      lastResult ?? "-",
    ]),
  };
}

function cutText(cut: CutJson | null): string {
  return cut === null
    ? "-"
    : Object.entries(cut)
        .map(([partition, offset]) => `${partition}:${offset}`)
        .join(" ");
}

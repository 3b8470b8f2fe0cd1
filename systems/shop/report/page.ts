import type { ReportIdentity } from "../../../batch-layer/report/report.ts";
import { groupsChart, hoursChart } from "./charts.ts";
import { type Column, escaped, tableOf } from "./html.ts";
import { PAGE_STYLE } from "./page-style.ts";
import { type GroupSales, numberIn } from "./sales.ts";
import { shownChange, shownShare, shownShort, shownValue } from "./shown.ts";
import { changes, type ReportNumbers, type Summary } from "./summary.ts";

const GROUPS_IN_CHART = 10;
const PRODUCTS_ON_PAGE = 20;
const BASKET = "basket";
const KEYS = `<p class="quiet"><span class="key day"></span>this day<span class="key before"></span>day before</p>`;

/**
 * The report as one page without scripts or anything to fetch: for browsers, printers and mail clients. What charts
 * show stands in tables as well, because some mail clients draw no SVG.
 */
export function pageOf(identity: ReportIdentity, numbers: ReportNumbers, summary: Summary): string {
  const { date, edition } = identity;
  const rows = [
    heading(identity, summary),
    tiles(summary),
    hours(numbers),
    ...breakdowns(numbers),
    products(numbers),
    quality(numbers),
    position(summary),
  ];
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Daily report ${date}${edition === 1 ? "" : `, edition ${edition}`}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<table class="sheet" role="presentation"><tbody>
${rows.map((row) => `<tr><td>${row}</td></tr>`).join("\n")}
</tbody></table>
</body>
</html>
`;
}

function heading({ date, edition, pin }: ReportIdentity, { dayIsOver, pinnedAt }: Summary): string {
  const weekday = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeZone: "UTC" }).format(pin.fromMs);
  const editionText = edition === 1 ? "" : `, edition ${edition}`;
  const partial = dayIsOver
    ? ""
    : `<p class="note">The day was not over: this is what the log held at ${clock(pinnedAt)}.</p>`;
  return `<p class="quiet">Daily report ${date}${editionText}</p><h1>${weekday}</h1>${partial}`;
}

function tiles({ day, units, comparedWith }: Summary): string {
  const { dayBefore, weekBefore } = comparedWith;
  const tile = (name: string, label: string) =>
    `<td class="tile"><span class="quiet">${label}</span><b>${shownValue(day[name], unitOf(units, name))}</b>
<span class="quiet">${trend(dayBefore.change[name])} vs day before<br>
${trend(weekBefore.change[name])} vs week before</span></td>`;
  const all = `<table role="presentation"><tr>${[
    tile("revenue", "Revenue"),
    tile("orders", "Orders"),
    tile("average", "Average order"),
    tile("buyers", "Buyers (estimate)"),
  ].join("")}</tr></table>`;
  return all + basket(day[BASKET], unitOf(units, BASKET));
}

/** Quantiles of the baskets, when the view has them. */
function basket(quantiles: unknown, unit: string): string {
  if (typeof quantiles !== "object" || quantiles === null) return "";
  const parts = Object.entries(quantiles as Record<string, number | null>).map(
    ([name, value]) => `${name.replace("_", ".")} <strong>${shownValue(value, unit)}</strong>`,
  );
  return `<p class="quiet" style="margin-top:12px">Basket: ${parts.join(" &#183; ")}</p>`;
}

function hours({ sales, units }: ReportNumbers): string {
  const unit = unitOf(units, "revenue");
  return `<h2>Revenue by hour (UTC)</h2>
<p class="quiet"><span class="key day"></span>this day<span class="key line"></span>day
before<span class="key line week"></span>week before</p>
<div class="chart">${hoursChart(sales.hours, (value) => shownShort(value, unit))}</div>`;
}

function breakdowns({ sales, units }: ReportNumbers): string[] {
  return Object.entries(sales.by).map(([dimension, groups]) => {
    const unit = unitOf(units, "revenue");
    const bars = groups.slice(0, GROUPS_IN_CHART).map(({ group, day, dayBefore }) => ({
      name: nameOf(group),
      day: numberIn(day, "revenue"),
      dayBefore: numberIn(dayBefore, "revenue"),
    }));
    const chart = groupsChart(`by-${dimension.replaceAll("_", "-")}`, bars, (value) => shownShort(value, unit));
    const halves =
      `<td class="half">${groupsTable(dimension, groups, units)}</td><td ` +
      `class="half"><div class="chart">${chart}</div></td>`;
    return (
      `<h2>By ${escaped(dimension.replaceAll("_", " "))}</h2>${KEYS}<table ` +
      `role="presentation"><tr>${halves}</tr></table>`
    );
  });
}

function groupsTable(dimension: string, groups: readonly GroupSales[], units: Summary["units"]): string {
  const columns: Column[] = [
    { head: dimension.replaceAll("_", " ") },
    { head: "revenue", numeric: true },
    { head: "orders", numeric: true },
    { head: "day before", numeric: true },
  ];
  const rows = groups.map(({ group, day, dayBefore }) => [
    escaped(nameOf(group)),
    shownValue(day.revenue, unitOf(units, "revenue")),
    shownValue(day.orders, unitOf(units, "orders")),
    trend(changes(day, dayBefore).revenue),
  ]);
  return tableOf(columns, rows);
}

function products({ products: all, units }: ReportNumbers): string {
  const columns: Column[] = [
    { head: "#" },
    { head: "product" },
    { head: "units", numeric: true },
    { head: "revenue", numeric: true },
  ];
  const row = ({ sku, units: sold, revenue }: (typeof all)[number], index: number) => [
    String(index + 1),
    escaped(sku),
    shownValue(sold, ""),
    shownValue(revenue, unitOf(units, "revenue")),
  ];
  const listed = all.slice(0, PRODUCTS_ON_PAGE).map(row);
  const middle = Math.ceil(listed.length / 2);
  if (listed.length === 0) return `<h2>Top products</h2><p class="quiet">Nothing was sold.</p>`;
  const halves = [listed.slice(0, middle), listed.slice(middle)].filter(({ length }) => length > 0);
  const cells = halves.map((half) => `<td class="half">${tableOf(columns, half)}</td>`).join("");
  return `<h2>Top ${listed.length} products by revenue</h2><p class="quiet">${rest(all.length)}</p>
<table role="presentation"><tr>${cells}</tr></table>`;
}

function rest(all: number): string {
  return all > PRODUCTS_ON_PAGE ? `The first ${all} are in top-products.csv.` : "";
}

function quality({ quality: streams }: ReportNumbers): string {
  const columns: Column[] = [
    { head: "stream" },
    { head: "records", numeric: true },
    { head: "duplicates", numeric: true },
    { head: "rejects", numeric: true },
    { head: "valid", numeric: true },
  ];
  const rows = Object.entries(streams).map(([name, { records, duplicates, rejects, score }]) => [
    escaped(name),
    ...[records, duplicates, rejects].map((count) => shownValue(count, "")),
    shownShare(score),
  ]);
  return (
    `<h2>Data quality</h2><p class="quiet">What Kafka got during the day. Duplicates ` +
    `count once, rejects not at all.</p>${tableOf(columns, rows)}`
  );
}

/** Where in the log the numbers hold, so that anybody can recompute them. */
function position({ position: streams, pinnedAt }: Summary): string {
  const lines = Object.entries(streams).map(([name, { cut }]) => {
    const positions = Object.entries(cut).map(([partition, offset]) => `${partition}:${offset}`);
    return `<code>${escaped(name)} ${positions.join(" ")}</code>`;
  });
  return (
    `<p class="quiet">Pinned at ${clock(pinnedAt)}. The numbers hold for all records before these positions ` +
    `(partition:offset), and a rerun gives them again:<br>${lines.join("<br>")}</p>`
  );
}

function trend(change: number | null | undefined): string {
  const kind = change === null || change === undefined || change === 0 ? "same" : change > 0 ? "up" : "down";
  return `<span class="${kind}">${shownChange(change)}</span>`;
}

function nameOf(group: unknown): string {
  return group === null ? "(none)" : String(group);
}

function unitOf(units: Summary["units"], measure: string): string {
  return units[measure] ?? "";
}

/** 2026-01-02 02:00:05 UTC */
function clock(iso: string): string {
  return `${iso.slice(0, 19).replace("T", " ")} UTC`;
}

import { COLOURS } from "./charts.ts";

/**
 * The page's style. Mail clients know neither variables nor grids, and some drop the whole element: the layout is of
 * tables, light is the default, and dark overrides it, in charts by the colours they are drawn in.
 */
export const PAGE_STYLE = `
body { margin: 0; padding: 24px 12px; background: #f1f5f9; color: #0f172a;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
.sheet { width: 100%; max-width: 800px; margin: 0 auto; background: #ffffff; border: 1px solid #e2e8f0;
  border-radius: 12px; }
.sheet > tbody > tr > td { padding: 20px; }
h1 { margin: 0; font-size: 24px; line-height: 1.25; font-weight: 650; }
h2 { margin: 0 0 10px; font-size: 16px; font-weight: 650; }
p { margin: 0; }
table { border-collapse: collapse; width: 100%; }
.sheet { border-collapse: separate; border-spacing: 0; table-layout: fixed; }
.sheet > tbody > tr + tr > td { border-top: 1px solid #e2e8f0; }
.quiet { color: #64748b; font-size: 13px; }
.note { margin-top: 12px; padding: 8px 12px; background: #fef3c7; color: #78350f; border-radius: 8px; font-size: 13px; }
.tile { width: 25%; padding: 0 12px 0 0; vertical-align: top; }
.tile b { display: block; font-size: 22px; line-height: 1.4; font-weight: 650; font-variant-numeric: tabular-nums; }
.half { width: 50%; vertical-align: top; }
.half + .half { padding-left: 32px; }
.rows th { padding: 6px 8px 6px 0; text-align: left; font-size: 12px; font-weight: 600; color: #64748b;
  border-bottom: 1px solid #cbd5e1; white-space: nowrap; }
.rows td { padding: 5px 8px 5px 0; border-bottom: 1px solid #e2e8f0; font-variant-numeric: tabular-nums; }
.rows .n { text-align: right; padding-right: 0; padding-left: 8px; white-space: nowrap; }
.up { color: #15803d; white-space: nowrap; }
.down { color: #b91c1c; white-space: nowrap; }
.same { color: #64748b; white-space: nowrap; }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 3px; vertical-align: -1px;
  margin: 0 4px 0 12px; }
.key:first-child { margin-left: 0; }
.key.day { background: ${COLOURS.day}; }
.key.before { background: ${COLOURS.dayBefore}; }
.key.line { width: 16px; height: 3px; vertical-align: 4px; background: ${COLOURS.dayBeforeLine}; }
.key.week { background: ${COLOURS.weekBefore}; }
.chart { margin: 8px 0 0; }
.chart svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; }
code { font: 12px/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; word-break: break-all; }
@media (max-width: 620px) {
  body { padding: 0; }
  .sheet { border: 0; border-radius: 0; }
  .sheet > tbody > tr > td { padding: 16px; }
  .tile { display: inline-block; box-sizing: border-box; width: 50%; padding-bottom: 12px; }
  .half { display: block; width: 100%; }
  .half + .half { padding: 20px 0 0; }
}
@media screen and (prefers-color-scheme: dark) {
  body { background: #020617; color: #e2e8f0; }
  .sheet { background: #0f172a; border-color: #1e293b; }
  .sheet > tbody > tr + tr > td, .rows td { border-color: #1e293b; }
  .rows th { border-color: #334155; color: #94a3b8; }
  .quiet, .same { color: #94a3b8; }
  .note { background: #422006; color: #fde68a; }
  .up { color: #4ade80; }
  .down { color: #f87171; }
  .key.day { background: #60a5fa; }
  .key.before { background: #64748b; }
  .key.line { background: #e2e8f0; }
  .key.week { background: #fbbf24; }
  svg [fill="${COLOURS.ink}"] { fill: #94a3b8; }
  svg [stroke="${COLOURS.grid}"] { stroke: #1e293b; }
  svg [fill="${COLOURS.day}"] { fill: #60a5fa; }
  svg [fill="${COLOURS.dayBefore}"] { fill: #64748b; }
  svg [stroke="${COLOURS.dayBeforeLine}"] { stroke: #e2e8f0; }
  svg [stroke="${COLOURS.weekBefore}"] { stroke: #fbbf24; }
}
@media print {
  @page { margin: 12mm; }
  body { padding: 0; background: #ffffff; color: #000000; font-size: 11px; }
  .sheet { max-width: none; border: 0; background: #ffffff; }
  .chart, h2, .rows tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  * { print-color-adjust: exact; }
}
`;

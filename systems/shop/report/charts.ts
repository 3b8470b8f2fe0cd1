import { BarChart, type BarSeriesOption, LineChart, type LineSeriesOption } from "echarts/charts";
import { GridComponent, type GridComponentOption } from "echarts/components";
import { type ComposeOption, init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

use([BarChart, LineChart, GridComponent, SVGRenderer]);

type ChartOption = ComposeOption<BarSeriesOption | LineSeriesOption | GridComponentOption>;

/** The colours of charts. The page's style gives each another one in the dark, by these very values. */
export const COLOURS = {
  ink: "#475569",
  grid: "#e2e8f0",
  day: "#2563eb",
  dayBefore: "#94a3b8",
  dayBeforeLine: "#334155",
  weekBefore: "#d97706",
} as const;

const FONT = { fontFamily: "system-ui, sans-serif", fontSize: 12, color: COLOURS.ink };

export interface HourlyValues {
  readonly day: readonly number[];
  readonly dayBefore: readonly number[];
  readonly weekBefore: readonly number[];
}

/** The hours of the day as bars, those of the compared days as lines. `shown` says how a value of the axis reads. */
export function hoursChart({ day, dayBefore, weekBefore }: HourlyValues, shown: (value: number) => string): string {
  const line = (data: readonly number[], color: string, type: "solid" | "dashed"): LineSeriesOption => ({
    type: "line",
    data: [...data],
    symbol: "none",
    silent: true,
    lineStyle: { color, width: 2, type },
  });
  return svgOf("hours", 760, 260, {
    grid: { left: 4, right: 4, top: 12, bottom: 4, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
    xAxis: {
      type: "category",
      data: day.map((_, hour) => String(hour).padStart(2, "0")),
      axisLabel: { ...FONT, interval: 1 },
      axisTick: { show: false },
      axisLine: { lineStyle: { color: COLOURS.grid } },
    },
    yAxis: {
      type: "value",
      splitNumber: 4,
      axisLabel: { ...FONT, formatter: shown },
      splitLine: { lineStyle: { color: COLOURS.grid } },
    },
    series: [
      {
        type: "bar",
        data: [...day],
        silent: true,
        barCategoryGap: "28%",
        itemStyle: { color: COLOURS.day, borderRadius: [3, 3, 0, 0] },
      },
      line(weekBefore, COLOURS.weekBefore, "dashed"),
      line(dayBefore, COLOURS.dayBeforeLine, "solid"),
    ],
  });
}

export interface Bar {
  readonly name: string;
  readonly day: number;
  readonly dayBefore: number;
}

/** Groups as horizontal bars, each with that of the day before below it. */
export function groupsChart(name: string, bars: readonly Bar[], shown: (value: number) => string): string {
  const shownBars = [...bars].reverse();
  const series = (data: number[], color: string, barWidth: number): BarSeriesOption => ({
    type: "bar",
    data,
    silent: true,
    barWidth,
    barGap: "15%",
    itemStyle: { color, borderRadius: [0, 3, 3, 0] },
  });
  return svgOf(name, 370, 44 + bars.length * 34, {
    grid: { left: 14, right: 16, top: 4, bottom: 4, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
    xAxis: {
      type: "value",
      splitNumber: 3,
      axisLabel: { ...FONT, formatter: shown },
      splitLine: { lineStyle: { color: COLOURS.grid } },
    },
    yAxis: {
      type: "category",
      data: shownBars.map(({ name: label }) => label),
      axisLabel: { ...FONT, width: 104, overflow: "truncate" },
      axisTick: { show: false },
      axisLine: { show: false },
    },
    series: [
      series(
        shownBars.map(({ day }) => day),
        COLOURS.day,
        11,
      ),
      series(
        shownBars.map(({ dayBefore }) => dayBefore),
        COLOURS.dayBefore,
        7,
      ),
    ],
  });
}

/**
 * A chart as an SVG element that says the same every time: the renderer numbers its charts, and adds classes, data and
 * a style for scripts that a report does not have.
 */
function svgOf(name: string, width: number, height: number, option: ChartOption): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, width, height });
  try {
    chart.setOption({ animation: false, ...option });
    return chart
      .renderToSVGString()
      .replaceAll(/<style[\s\S]*?<\/style>\s*/g, "")
      .replaceAll(/ (?:class|pointer-events|ecmeta_\w+|xmlns:xlink)="[^"]*"/g, "")
      .replaceAll(/zr\d+-/g, `${name}-`)
      .replace(/^<svg width="\d+" height="\d+"/, '<svg role="img"')
      .replaceAll("\n", "");
  } finally {
    chart.dispose();
  }
}

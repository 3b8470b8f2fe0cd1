import { describe, expect, test } from "vitest";
import {
  age,
  changedText,
  durationMs,
  linesOf,
  spanFor,
  startingView,
  stateOf,
  unitOf,
  widths,
} from "../../serving/page/choose.js";

const view = (name: string, changedMs: number | null, grain = "1h", sessions = false) => ({
  ...{ name, changedMs, grain, sessions, ready: true, complete: true, freshnessMs: 500 },
});
const startingName = (...views: ReturnType<typeof view>[]) => startingView(views)?.name;

describe("the page opens on", () => {
  test("a view that moves, of these one with fine buckets", () => {
    expect(startingName(view("a", null), view("b", 90_000_000, "1m"), view("c", 900), view("d", 5_000))).toBe("c");
    expect(startingName(view("a", 0), view("b", 60_000, "1m"), view("c", 0, "30m", true), view("d", 9, "1d"))).toBe(
      "b",
    );
  });

  test("the one that changed last when none moves, and the first when nothing is known of any", () => {
    expect(startingName(view("a", null, "1m"), view("b", 90_000_000, "1m"), view("c", 300_000, "1d"))).toBe("c");
    expect(startingName(view("a", null), view("b", null, "1m"))).toBe("a");
    expect(startingView([])).toBeUndefined();
  });
});

describe("the chart", () => {
  const bucket = "2026-03-01T10:00:00.000Z";
  const lines = (...shops: unknown[]) =>
    linesOf(
      shops.map((shop, index) => ({ bucket, shop, sales: index + 1 })),
      { group: ({ shop }) => shop, name: "sales", value: ({ sales }) => sales },
    );

  test("has a line of its own for no value, and for texts that are written alike", () => {
    const shops = [null, "none", '"none"', "", "null", "a", '"'];
    const drawn = lines(...shops);
    expect(drawn).toHaveLength(shops.length);
    for (const what of ["id", "name"] as const)
      expect(new Set(drawn.map((line) => line[what])).size).toBe(shops.length);
    expect(drawn.map(({ name }) => name)).toEqual(['"\\""', "a", "null", '""', '"\\"none\\""', '"none"', "none"]);
    expect(lines(null, "none", null).map(({ points }) => points.map(([, y]) => y))).toEqual([[1, 3], [2]]);
  });

  test("has one line when nothing is told apart", () => {
    const value = () => null;
    expect(linesOf([{ bucket }, { bucket }], { group: null, name: "sales", value })).toEqual([
      { id: "", name: "sales", size: 0, points: [1, 2].map(() => [Date.parse(bucket), null]) },
    ]);
  });
});

test("a span has enough buckets to see something, and not too many", () => {
  for (const width of widths("1s").concat(widths("1h"), widths("1d"), widths("30m"))) {
    const buckets = (durationMs(spanFor(width)) ?? 0) / (durationMs(width) ?? 1);
    expect(buckets, width).toBeGreaterThanOrEqual(24);
    expect(buckets, width).toBeLessThanOrEqual(86_400);
  }
});

describe("its words", () => {
  test("tell when numbers changed from how far they are", () => {
    const idle = view("a", 3 * 3_600_000);
    expect([changedText(idle), stateOf(idle)]).toEqual(["changed 3 h ago", { good: true, text: "up to date" }]);
    expect(changedText(view("a", 100))).toBe("changed just now");
    expect(changedText(view("a", null))).toBe("no events yet");
    const behind = { ...view("a", 100), freshnessMs: 300_000 };
    expect(stateOf(behind)).toEqual({ good: false, text: "as of 5 min ago" });
    expect(stateOf({ ...behind, complete: false })).toEqual({ good: false, text: "batch version alone" });
    expect(stateOf({ ...view("a", null), ready: false })).toMatchObject({ good: false });
  });

  test("say ages and units as people do", () => {
    expect([0, 5_400, 119_000, 120_000, 7_200_000, 172_800_000].map(age)).toEqual([
      ...["0 s", "5 s", "119 s", "2 min", "2 h", "2 days"],
    ]);
    const column = { column: "revenue", measure: "revenue", unit: "cents" };
    expect([unitOf(column), unitOf({ ...column, unit: "revenue" })]).toEqual(["cents", ""]);
  });
});

import { compareText } from "../order.ts";
import type { Sql } from "../sql.ts";
import { builtMeasure } from "./built-measure.ts";
import { EXACT, type Item, type Measure, presentInteger } from "./measure.ts";
import { plainPresented } from "./plain-values.ts";

const SHOW = 10;

/**
 * The items with the most weight. Every item's weight is held, as an exact sum; only what is presented is cut off, so a merge never loses
 * an item that comes up later. Costs a cell an item. Items are presented as text; equal weights in the order of their code points.
 *
 * @param options.weight an integer expression; 1 for each event by default
 * @param options.show how many items an answer holds, 1 to 1000
 */
export function topK(item: Sql, options: { weight?: Sql; show?: number; unit?: string } = {}): Measure {
  return builtMeasure("topK", () => {
    const { weight, show = SHOW, unit = weight === undefined ? "events" : "" } = options;
    if (!Number.isInteger(show) || show < 1 || show > 1_000)
      throw new RangeError(`show is a whole number from 1 to 1000, not ${String(show)}`);
    return {
      kind: "topK",
      spec: { kind: "topK", of: item.text, weight: weight?.text ?? null, show, unit },
      unit,
      accuracy: { ...EXACT, note: `exact; the first ${show} are shown` },
      inputs: [
        { sql: item, type: "any" },
        ...(weight === undefined ? [] : [{ sql: weight, type: "integer" as const }]),
      ],
      components: [
        {
          name: "weights",
          form: "items",
          merge: "sum",
          item: { sql: `CAST((${item.text}) AS VARCHAR)`, type: "text" },
          partial: weight === undefined ? "count(*)" : `sum(${weight.text})::BIGINT`,
          given: `(${item.text}) IS NOT NULL`,
        },
      ],
      parts: "list",
      present: (state) => shown(state.items("weights"), show),
      plain: {
        columns: {
          weights: {
            form: "items",
            item: `CAST((${item.text}) AS VARCHAR)`,
            weight: weight === undefined ? "count(*)" : `sum(${weight.text})`,
            show,
          },
        },
        present: (found) =>
          found.items("weights").map(([name, value]) => ({ item: name, weight: plainPresented(value) })),
      },
    };
  });
}

type Weighed = readonly [item: Item, weight: bigint];

/** The heaviest items; equal ones in the order of their code points. Holds `show` of them at a time, however many there are. */
function shown(items: Iterable<Weighed>, show: number) {
  const first: Weighed[] = [];
  for (const weighed of items) {
    const last = first[show - 1];
    if (last !== undefined && compareWeighed(weighed, last) >= 0) continue;
    if (last !== undefined) first.pop();
    first.splice(placeOf(first, weighed), 0, weighed);
  }
  return first.map(([name, value]) => ({ item: name, weight: presentInteger(value) }));
}

/** Where an item belongs in a sorted list: after those that are equal. */
function placeOf(sorted: readonly Weighed[], weighed: Weighed): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareWeighed(sorted[middle] as Weighed, weighed) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function compareWeighed([a, x]: Weighed, [b, y]: Weighed): number {
  return x === y ? compareText(String(a), String(b)) : x > y ? -1 : 1;
}

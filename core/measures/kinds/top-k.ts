import type { Sql } from "../../contract/sql.ts";
import { builtMeasure } from "../built-measure.ts";
import { decimalText, presentDecimal } from "../decimals.ts";
import { EXACT, type Item, type Measure } from "../measure.ts";
import { compareText } from "../order.ts";
import { plainDecimal, plainDecimalText } from "../plain-values.ts";
import { chosenScale, type NumberOptions, scaleSpec } from "../scale-option.ts";

const SHOW = 10;

/**
 * The items with the most weight. State has every item's weight, as an exact sum, and only the presented list is cut
 * off, so a merge never loses an item that becomes heavier later. Each item costs a cell. Items are presented as text.
 * Items of equal weight are in the order of the code points of their text in SQL.
 *
 * @param options.weight an integer expression; 1 for each event by default
 * @param options.show how many items an answer holds, 1 to 1000
 */
export function topK(item: Sql, options: NumberOptions & { weight?: Sql; show?: number } = {}): Measure {
  return builtMeasure("topK", options, (scaleOf) => {
    const { weight, show = SHOW, unit = weight === undefined ? "events" : "" } = options;
    const scale = weight === undefined ? 0 : chosenScale(weight, options, scaleOf);
    const itemScale = scaleOf(item);
    if (!Number.isInteger(show) || show < 1 || show > 1_000)
      throw new RangeError(`show is a whole number from 1 to 1000, not ${String(show)}`);
    return {
      kind: "topK",
      spec: { kind: "topK", of: item.text, weight: weight?.text ?? null, show, unit, ...scaleSpec(options.scale) },
      unit,
      accuracy: { ...EXACT, note: `exact; the first ${show} are shown` },
      values: scale === 0 ? "integer" : "decimal",
      scale,
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
          single: weight === undefined ? "1" : `(${weight.text})::BIGINT`,
          given: `(${item.text}) IS NOT NULL`,
        },
      ],
      parts: "list",
      present: (state) =>
        shown(state.items("weights"), show).map(([name, value]) => ({
          item: itemScale === 0 ? name : decimalText(BigInt(name), itemScale),
          weight: presentDecimal(value, scale),
        })),
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
          found.items("weights").map(([name, value]) => ({
            item: itemScale === 0 ? name : plainDecimalText(name, itemScale),
            weight: plainDecimal(value, scale),
          })),
      },
    };
  });
}

type Weighed = readonly [item: Item, weight: bigint];

/** The number of items in addition to the shown ones that are kept before they are sorted and cut off. */
const SLACK = 1_000;

/**
 * Returns the heaviest items; equal ones in the order of their code points. Keeps at most `SLACK` more than `show` in
 * memory, however many items there are.
 */
function shown(items: Iterable<Weighed>, show: number): Weighed[] {
  let first: Weighed[] = [];
  let last: Weighed | undefined;
  const cut = () => {
    first = first.sort(compareWeighed).slice(0, show);
    last = first[show - 1];
  };
  for (const weighed of items) {
    if (last !== undefined && compareWeighed(weighed, last) >= 0) continue;
    first.push(weighed);
    if (first.length === show + SLACK) cut();
  }
  cut();
  return first;
}

function compareWeighed([a, x]: Weighed, [b, y]: Weighed): number {
  return x === y ? compareText(String(a), String(b)) : x > y ? -1 : 1;
}

import type { DuckDBValue } from "@duckdb/node-api";
import type { EpochMs } from "../../../core/log/position.ts";
import type { Item, StateValue } from "../../../core/measures/measure.ts";
import { Registers } from "../../../core/numbers/hll.ts";
import { type Budget, REGISTERS_A_MERGE } from "../../../core/query/budget.ts";
import { STEP, type Work } from "../../../core/query/work.ts";
import { type Group, groupKey, groupValue } from "../../../core/state/cells.ts";
import { below, type GroupTree } from "../../../core/state/group-tree.ts";
import { type BucketTile, type GroupCells, groupWeight } from "../cells/tile-cells.ts";
import { type BatchPlan, ofForm, packedRegister } from "./batch-sql.ts";

/** The cells that were read of a version, and how many stored rows they were made of. */
export interface BatchCells {
  readonly tiles: readonly BucketTile[];
  readonly rows: number;
  /** The weight of the tiles in a cache, in cells. */
  readonly weight: number;
}

/** A cell while its rows are being read. */
interface Gathering extends Group {
  readonly bucket: EpochMs;
  values: [component: string, value: StateValue][];
  readonly items: [component: string, item: Item, value: bigint][];
  readonly sketches: [component: string, registers: Registers][];
}

/** Collects the rows of all statements by cell. Everything that it holds counts against the budget. */
export class GatheredCells {
  readonly #cells: Gathering[] = [];
  /** A tree by bucket, then by the values of the dimensions. */
  readonly #root: GroupTree<Gathering> = { next: null, held: null };
  readonly #plan: BatchPlan;
  readonly #budget: Budget;

  constructor(plan: BatchPlan, budget: Budget) {
    this.#plan = plan;
    this.#budget = budget;
  }

  *addValues(columns: DuckDBValue[][]): Work<void> {
    const first = 1 + this.#plan.by.length;
    const wanted = ofForm(this.#plan, "integer", "pick");
    for (let row = 0; row < (columns[0]?.length ?? 0); row++) {
      this.#cell(columns, row).values = wanted.flatMap(({ key }, index): [string, StateValue][] => {
        const value = columns[first + index]?.[row];
        return typeof value === "bigint" || typeof value === "string" ? [[key, value]] : [];
      });
      yield wanted.length;
    }
  }

  *addItems(columns: DuckDBValue[][]): Work<void> {
    const first = 1 + this.#plan.by.length;
    const [components, items, labels, values] = columns.slice(first, first + 4);
    for (let row = 0; row < (columns[0]?.length ?? 0); row++) {
      this.#budget.spend("items", 1);
      const item = labels?.[row] ?? Number(items?.[row]);
      this.#cell(columns, row).items.push([String(components?.[row]), item as Item, values?.[row] as bigint]);
      yield 1;
    }
  }

  *addSketches(columns: DuckDBValue[][]): Work<void> {
    const component = 1 + this.#plan.by.length;
    for (let row = 0; row < (columns[0]?.length ?? 0); row++) {
      const registers = this.#registers(this.#cell(columns, row), String(columns[component]?.[row]));
      const text = String(columns[component + 1]?.[row]);
      const beforeBytes = registers.sizeBytes;
      for (let index = 0; index < text.length; index += 2) {
        const { register, rank } = packedRegister(text, index);
        registers.offer(register, rank);
      }
      this.#budget.spend("sketchBytes", registers.sizeBytes - beforeBytes);
      yield text.length / REGISTERS_A_MERGE;
    }
  }

  #registers({ sketches }: Gathering, component: string): Registers {
    const held = sketches.find(([key]) => key === component);
    if (held !== undefined) return held[1];
    const registers = new Registers();
    sketches.push([component, registers]);
    return registers;
  }

  /** Returns the cells by bucket, and their weight. Yields how many cells were done. */
  *tiles(): Work<Omit<BatchCells, "rows">> {
    const buckets = new Map<EpochMs, GroupCells[]>();
    let [weight, seen] = [0, 0];
    for (const { bucket, ...cells } of this.#cells) {
      const groups = buckets.get(bucket) ?? [];
      if (groups.push(cells) === 1) buckets.set(bucket, groups);
      weight += groupWeight(cells);
      seen += 1;
      if (seen % STEP === 0) yield STEP;
    }
    return { tiles: [...buckets].map(([bucket, groups]) => ({ bucket, groups })), weight: weight + buckets.size };
  }

  #cell(columns: DuckDBValue[][], row: number): Gathering {
    const bucket = Number(columns[0]?.[row]);
    let level = below(this.#root, bucket);
    for (let index = 1; index <= this.#plan.by.length; index++) level = below(level, groupValue(columns[index]?.[row]));
    if (level.held !== null) return level.held;
    this.#budget.spend("cells", 1);
    const group = this.#plan.by.map((_, index) => groupValue(columns[1 + index]?.[row]));
    const cell: Gathering = { bucket, group, key: groupKey(group), values: [], items: [], sketches: [] };
    level.held = cell;
    this.#cells.push(cell);
    return cell;
  }
}

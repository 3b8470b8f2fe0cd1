import type { DuckDBValue } from "@duckdb/node-api";
import { componentsOf, type NamedComponent } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import { MERGE, ROWS, type StateValue } from "../../core/measures/measure.ts";
import { groupKeyWith, groupValue } from "../../core/state/cells.ts";
import { singleCountedSql, singlesSql } from "../../core/state/single-events.ts";
import type { KeptStatements } from "../../store/duckdb/kept-statements.ts";
import { cellField } from "../../store/redis/chain-state.ts";
import { type Building, Gathering, type PartitionStates, packHashes } from "./gathering.ts";

/** The rows of a statement, in chunks of columns. */
export type Chunks = Iterable<readonly (readonly DuckDBValue[])[]>;

/** As `statesByPartition`, from a row for each event, merged here: for small batches. */
export async function statesOfSingles(
  statements: KeptStatements,
  view: View,
  events: string,
): Promise<Map<number, PartitionStates>> {
  const gathered = mergedSingles(view, await statements.columns(singlesSql(view, events)));
  if (view.each !== null) {
    for (const [partition, counted] of await statements.rows(singleCountedSql(view, events)))
      gathered.count(Number(partition), Number(counted));
  }
  return gathered.partitions;
}

/** The states of the rows of a view's `singlesSql`. With `each` the events are still to be counted. */
export function mergedSingles(view: View, chunks: Chunks): Gathering {
  const gathered = new Gathering(Object.keys(view.by).length);
  const merging = new Merging();
  const components = placed(view);
  for (const chunk of chunks) {
    for (const { row, partition, delta, key } of gathered.cells(chunk)) {
      for (const { component, column } of components) {
        const value = gathered.after(chunk, column, row);
        if (value === null) continue;
        if (component.form === "registers") merging.addHash(delta, cellField(component.key, key), value as bigint);
        else if (component.form !== "items")
          merging.add(delta, component, cellField(component.key, key), value as StateValue | number);
        else {
          const item = groupValue(gathered.after(chunk, column - 1, row));
          const field = cellField(component.key, groupKeyWith(key, item));
          merging.add(delta, component, field, value as bigint | number);
        }
        if (component.key === ROWS.name && view.each === null) gathered.count(partition, 1);
      }
    }
  }
  merging.finish();
  return gathered;
}

interface Placed {
  readonly component: NamedComponent;
  readonly column: number;
}

/** Of each view that was asked for: a small batch is worth no more than a look-up. */
const placedOf = new WeakMap<View, readonly Placed[]>();

/** Each component with the place of its value among the columns behind the dimensions; its item stands before it. */
function placed(view: View): readonly Placed[] {
  const known = placedOf.get(view);
  if (known !== undefined) return known;
  let next = 0;
  const made = componentsOf(view).map((component) => {
    next += component.form === "items" ? 2 : 1;
    return { component, column: next - 1 };
  });
  placedOf.set(view, made);
  return made;
}

/** The cells of deltas, by field, until each is written once. */
class Merging {
  readonly #values = new Map<Building, Map<string, { merge: NamedComponent["merge"]; value: StateValue }>>();
  readonly #hashes = new Map<Building, Map<string, Set<bigint>>>();

  add(delta: Building, { merge }: NamedComponent, field: string, one: StateValue | number): void {
    const value = typeof one === "number" ? BigInt(one) : one;
    const cells = this.#values.get(delta) ?? new Map();
    this.#values.set(delta, cells);
    const held = cells.get(field);
    cells.set(field, { merge, value: held === undefined ? value : MERGE[merge](held.value, value) });
  }

  addHash(delta: Building, field: string, hash: bigint): void {
    const sketches = this.#hashes.get(delta) ?? new Map<string, Set<bigint>>();
    this.#hashes.set(delta, sketches);
    const held = sketches.get(field) ?? new Set();
    sketches.set(field, held.add(hash));
  }

  finish(): void {
    for (const [{ values }, cells] of this.#values)
      for (const [field, { merge, value }] of cells) values.push({ merge, field, value: stored(value) });
    for (const [{ sketches }, held] of this.#hashes)
      for (const [field, hashes] of held) sketches.push({ field, hashes: packHashes([...hashes]) });
  }
}

/** Throws where DuckDB's cast to BIGINT would. */
function stored(value: StateValue): StateValue {
  if (typeof value === "bigint" && BigInt.asIntN(64, value) !== value)
    throw new RangeError(`a sum of ${value} is out of the range of 64 bits`);
  return value;
}

import type { View } from "../../core/definition/view.ts";
import { isShareable, type SharedColumns, type SharedSingles, sharedSingles } from "../../core/state/shared-singles.ts";
import type { DecodedBatch } from "../../store/decode/decoded-batch.ts";
import type { KeptStatements } from "../../store/duckdb/kept-statements.ts";
import { type Chunks, mergedSingles, type PartitionStates, statesByPartition } from "./deltas.ts";

/** What a decoded batch adds, for any of the views that read it. */
export interface BatchStates {
  readonly decoded: DecodedBatch;
  /** The states that a view makes of some of its events, by partition. Fails where the view's SQL does. */
  states(view: View, events: string): Promise<ReadonlyMap<number, PartitionStates>>;
}

/**
 * After a shared statement failed, this many small batches are read without one. If the SQL of one view was the reason,
 * that view stops, and the others share a statement at once.
 */
const BATCHES_ALONE = 500;

/**
 * Reads the batches of one lane for its views. Views of a small batch share one statement: with twenty views, twenty
 * statements would be most of the lane's work. Should it fail, `onFailure` is told, and each view has its own statement
 * for this batch, so that an error in the SQL of one view stops no other.
 */
export class BatchReader {
  readonly #statements: KeptStatements;
  readonly #onFailure: (error: Error) => void;
  #shared: { readonly views: readonly View[]; readonly singles: SharedSingles } | null = null;
  /** How many small batches are still read without a shared statement. */
  #alone = 0;

  constructor(statements: KeptStatements, onFailure: (error: Error) => void) {
    this.#statements = statements;
    this.#onFailure = onFailure;
  }

  /** `views` are those that may ask. One that is not among them gets the same answer by a statement of its own. */
  read(views: readonly View[], decoded: DecodedBatch): BatchStates {
    const statements = this.#statements;
    const { size } = decoded;
    const shared = size === "small" ? this.#sharedBy(views.filter(isShareable)) : null;
    const chunksOf = oncePerText(async (events) =>
      shared === null ? null : [...(await statements.columns(shared.sql(events)))],
    );
    const failed = (error: unknown) => {
      if (this.#alone === 0) this.#onFailure(error as Error);
      this.#alone = BATCHES_ALONE;
      return null;
    };
    const states = async (view: View, events: string) => {
      const place = shared?.of.get(view);
      if (place !== undefined) {
        const chunks = await chunksOf(events).catch(failed);
        if (chunks !== null) return mergedSingles(view, ownChunks(chunks, place)).partitions;
      }
      return statesByPartition(statements, view, events, size);
    };
    return { decoded, states };
  }

  /** Null: there is nothing to share. */
  #sharedBy(views: readonly View[]): SharedSingles | null {
    if (views.length < 2) return null;
    const held = this.#shared;
    const isSame = held?.views.length === views.length && held.views.every((view, index) => view === views[index]);
    const shared = held !== null && isSame ? held : { views, singles: sharedSingles(views) };
    this.#shared = shared;
    this.#alone = isSame ? Math.max(0, this.#alone - 1) : 0;
    return this.#alone > 0 ? null : shared.singles;
  }
}

/** Of the rows of a shared statement, those that a view counts, in the columns of its `singlesSql`. */
function* ownChunks(chunks: Chunks, { counted, columns }: SharedColumns): Chunks {
  for (const chunk of chunks) {
    const own = columns.map((column) => chunk[column] ?? []);
    const flags = counted === null ? null : chunk[counted];
    yield flags === null ? own : own.map((values) => values.filter((_, row) => flags?.[row] === true));
  }
}

/** A function of a text that is called once for each text; who asks again gets the same promise. */
function oncePerText<T>(ask: (text: string) => Promise<T>): (text: string) => Promise<T> {
  const asked = new Map<string, Promise<T>>();
  return (text) => {
    const promise = asked.get(text) ?? ask(text);
    asked.set(text, promise);
    return promise;
  };
}

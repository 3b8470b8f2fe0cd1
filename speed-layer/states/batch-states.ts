import type { View } from "../../core/definition/view.ts";
import { isShareable, type SharedColumns, type SharedSingles, sharedSingles } from "../../core/state/shared-singles.ts";
import type { DecodedBatch } from "../../store/decode/decoded-batch.ts";
import type { KeptStatements } from "../../store/duckdb/kept-statements.ts";
import { type Chunks, mergedSingles, type PartitionStates, statesByPartition } from "./deltas.ts";

/** The states of a decoded batch, for any of the views that read it. */
export interface BatchStates {
  readonly decoded: DecodedBatch;
  /**
   * Returns the states that a view makes of some of the batch's events, by partition. Throws if the view's SQL fails.
   */
  states(view: View, events: string): Promise<ReadonlyMap<number, PartitionStates>>;
}

/**
 * The number of small batches that are read without a shared statement after one failed. If the SQL of one view was the
 * reason, that view stops, and the others share a statement again at once.
 */
const BATCHES_ALONE = 500;

/**
 * Reads the batches of one lane for its views. The views of a small batch share one statement, because with twenty
 * views twenty statements would be most of the lane's work. If the shared statement fails, `onFailure` is called and
 * each view uses its own statement for this batch, so that an error in one view's SQL stops no other view.
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

  /**
   * Returns the states of a batch. `views` are those that share a statement; any other view gets the same states by a
   * statement of its own.
   */
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

  /** Returns the shared statement, or null if there is nothing to share. */
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

/** Yields the rows of a shared statement that one view counts, in the columns of its `singlesSql`. */
function* ownChunks(chunks: Chunks, { counted, columns }: SharedColumns): Chunks {
  for (const chunk of chunks) {
    const own = columns.map((column) => chunk[column] ?? []);
    const flags = counted === null ? null : chunk[counted];
    yield flags === null ? own : own.map((values) => values.filter((_, row) => flags?.[row] === true));
  }
}

/**
 * Returns a function that calls `ask` once for each text. A second call with the same text returns the same promise.
 */
function oncePerText<T>(ask: (text: string) => Promise<T>): (text: string) => Promise<T> {
  const asked = new Map<string, Promise<T>>();
  return (text) => {
    const promise = asked.get(text) ?? ask(text);
    asked.set(text, promise);
    return promise;
  };
}

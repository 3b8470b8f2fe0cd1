import { componentsOf } from "../core/definition/components.ts";
import type { View } from "../core/definition/view.ts";
import { Budget } from "../core/query/budget.ts";
import type { Query } from "../core/query/query.ts";
import { finish } from "../core/query/work.ts";
import { AnswerBuilder, Tiler } from "../serving/read/cells/tile-cells.ts";
import { SegmentTile } from "../serving/read/live/segment-cache.ts";
import { needsOf } from "../serving/read/needs.ts";
import { ALL_OF_TIME } from "../serving/read/reading.ts";
import type { Chain } from "../store/redis/chain.ts";
import type { BucketCells, ChainState } from "../store/redis/chain-state.ts";

/** State merged as serving merges it, without a server. */

export const WHOLE = { fromMs: -ALL_OF_TIME, toMs: ALL_OF_TIME } as const;

export interface LiveState {
  readonly chain: ChainState;
  /** All cells of the open segment. */
  readonly open: readonly BucketCells[];
}

/** The chain and all of its open segment, of one atomic step; null without a chain. */
export async function liveState(chain: Chain): Promise<LiveState | null> {
  const found = await chain.read(null, [{ ...WHOLE, sketches: true, fields: null, held: false }]);
  return found === null ? null : { chain: found.chain, open: found.parts[0] ?? [] };
}

/** Merges tiles into an answer to a query for all of time. */
export function answerBuilder(view: View, query: Query): AnswerBuilder {
  const { groups } = needsOf(view, query);
  return new AnswerBuilder(view, query, WHOLE, { components: componentsOf(view), groups }, Budget.unlimited());
}

/** Merges the segments of a chain, the closed ones read from Redis. Throws when one is gone. */
export async function addLive(builder: AnswerBuilder, view: View, redis: Chain, live: LiveState): Promise<void> {
  const tiler = new Tiler(view);
  for (const { id, from, to } of live.chain.segments) {
    const closed = to === null ? null : await redis.segment({ id, from, to });
    if (to !== null && closed === null) throw new Error(`segment ${id} is gone`);
    const tiles =
      closed === null
        ? live.open.map((bucket) => finish(tiler.tile(bucket)))
        : finish(SegmentTile.of(view, closed)).within(WHOLE.fromMs, WHOLE.toMs);
    finish(builder.addStored(tiles, WHOLE));
  }
}

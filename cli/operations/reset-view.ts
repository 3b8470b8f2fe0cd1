import { join } from "node:path";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import { positionsBetween } from "../../core/log/position.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { Chain } from "../../store/redis/chain.ts";
import type { ChainState } from "../../store/redis/chain-state.ts";
import { openRedis } from "../../store/redis/redis.ts";
import type { Config } from "../setup/config.ts";
import { requireRedis } from "../setup/redis-answers.ts";

/**
 * Drops the live state of a view's served generation, or of the generation `name`. Without `yes`, only prints what
 * would be dropped. The speed layer then reads the live state again from the log, except for a generation that another
 * release computed. Throws VIEW_UNKNOWN, and NOT_READY when Redis does not answer.
 */
export async function resetView(config: Config, name: string, yes: boolean): Promise<void> {
  const generations = new Generations(new DataDirectory(join(config.home, "data")));
  const { generation, frozen } = await generations.find(name, await loadDefinitions(config));
  const redis = openRedis(config.redisUrl, () => {});
  try {
    const chain = new Chain(redis, config.namespace, generation);
    await requireRedis(redis, "Nothing was dropped.");
    const state = await chain.load().catch((error: unknown) => {
      if (isTidelineError(error, "LIVE_STATE_UNREADABLE")) return error;
      throw error;
    });
    const frozenText =
      "Another release computed this generation: it answers from its newest " +
      "version alone, and nobody reads its live state again.";
    if (!yes) {
      const then = "Add --yes to drop it; the speed layer then reads it again from the log.";
      print(`${generation}: ${shown(state)}`, frozen ? `${frozenText} Add --yes to drop it.` : then);
      return;
    }
    // Dropped even if no chain was loaded: a damaged chain counts as none, but its keys still exist.
    await chain.drop();
    const then = frozen ? frozenText : "The speed layer reads it again from the batch cut.";
    print(`${generation}: dropped ${shown(state)}`, then);
  } finally {
    redis.disconnect();
  }
}

function shown(state: ChainState | TidelineError | null): string {
  if (state instanceof TidelineError) return state.message;
  if (state === null) return "no live state";
  const read = positionsBetween(state.segments[0]?.from ?? new Map(), state.applied);
  return `live state of ${read} positions, ${state.cells} cells in ${state.segments.length} segments`;
}

function print(...lines: readonly string[]): void {
  process.stdout.write(`${lines.join("\n")}\n`);
}

import type { Manifest } from "../core/log/documents.ts";
import { cutReached } from "../core/log/position.ts";
import type { Chain } from "../store/redis/chain.ts";
import { closedOf } from "../store/redis/chain-state.ts";

export interface LiveRoomDeps {
  readonly chain: Chain;
  /** Returns the newest manifest, and creates the first one if there is none. */
  readonly newestManifest: () => Promise<Manifest>;
}

/**
 * Deletes the segments in Redis that the newest version already contains. When room is not needed, they stay until
 * later versions have followed. A reader of the version before that still needs one begins its read again (invariant
 * 8). Returns the number of cells in Redis that are in no version yet.
 */
export async function makeRoom({ chain: redis, newestManifest }: LiveRoomDeps): Promise<number> {
  const { cut } = await newestManifest();
  const chain = await redis.load();
  if (chain === null) return 0;
  const settled = closedOf(chain.segments).filter(({ to }) => cutReached(cut, to));
  if (settled.length > 0) await redis.trim(cut);
  return chain.cells - settled.reduce((sum, segment) => sum + (segment.cells ?? 0), 0);
}

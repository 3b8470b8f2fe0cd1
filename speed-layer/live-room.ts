import type { Manifest } from "../core/log/documents.ts";
import { cutReached } from "../core/log/position.ts";
import type { Chain } from "../store/redis/chain.ts";
import { closedOf } from "../store/redis/chain-state.ts";

export interface LiveRoomDeps {
  readonly chain: Chain;
  /** The newest manifest, begun if there is none. */
  readonly newestManifest: () => Promise<Manifest>;
}

/**
 * Deletes the segments in Redis whose content is in the newest version. Without need they stay until versions have
 * followed; a reader of the version before that still needs one begins its read again (invariant 8). Returns how many
 * cells Redis has that are in no version yet.
 */
export async function makeRoom({ chain: redis, newestManifest }: LiveRoomDeps): Promise<number> {
  const { cut } = await newestManifest();
  const chain = await redis.load();
  if (chain === null) return 0;
  const settled = closedOf(chain.segments).filter(({ to }) => cutReached(cut, to));
  if (settled.length > 0) await redis.trim(cut);
  return chain.cells - settled.reduce((sum, segment) => sum + (segment.cells ?? 0), 0);
}

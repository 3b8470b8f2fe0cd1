import type { Manifest } from "../core/log/documents.ts";
import { cutReached, type EpochMs } from "../core/log/position.ts";
import type { Chain } from "../store/redis/chain.ts";
import { closedOf } from "../store/redis/chain-state.ts";

/**
 * Where room is needed, segments go when the version that has what they hold was published so long ago. A reader of the
 * version before that still wants one starts again.
 */
const ROOM_AFTER_MS = 5_000;

export interface LiveRoomDeps {
  readonly chain: Chain;
  /** The newest manifest, begun if there is none. */
  readonly newestManifest: () => Promise<Manifest>;
  /** The wall clock, which versions have the time of. The clock of a lane has another beginning. */
  readonly wallMs: () => EpochMs;
}

/**
 * Lets segments leave Redis that a version has: without need they stay until the next version. Returns how many cells
 * Redis has that are in no version yet.
 */
export async function makeRoom({ chain: redis, newestManifest, wallMs }: LiveRoomDeps): Promise<number> {
  const { cut, createdAtMs } = await newestManifest();
  const chain = await redis.load();
  if (chain === null) return 0;
  const settled = closedOf(chain.segments).filter(({ to }) => cutReached(cut, to));
  const ageMs = wallMs() - createdAtMs;
  // A version of the future is of a clock that was set: its age says nothing.
  if (settled.length > 0 && (ageMs > ROOM_AFTER_MS || ageMs < 0)) await redis.trim(cut);
  return chain.cells - settled.reduce((sum, segment) => sum + (segment.cells ?? 0), 0);
}

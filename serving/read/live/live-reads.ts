import type { Generation } from "../../../core/definition/generation.ts";
import type { Definition } from "../../../store/definitions/definitions.ts";
import type { Chain } from "../../../store/redis/chain.ts";
import type { BucketCells, ChainRead, ChainState, KnownChain, OpenPart } from "../../../store/redis/chain-state.ts";
import { liveStateUnreadable } from "../../../store/redis/unreadable-state.ts";
import { inTurns } from "../../common/turns.ts";
import { type StoredTile, Tiler } from "../cells/tile-cells.ts";

/** The chain and a part of its open segment, read in one atomic step. */
export interface LiveRead {
  readonly chain: ChainState;
  /** The newest bucket of the open segment. */
  readonly lastBucket: number | null;
  readonly open: readonly StoredTile[];
}

/** Reads Redis; rejects when Redis does not answer. */
export type AskChain = (known: KnownChain | null, parts: Parameters<Chain["read"]>[1]) => Promise<ChainRead | null>;

interface Waiting {
  readonly part: OpenPart | null;
  readonly resolve: (read: LiveRead | null) => void;
  readonly reject: (error: unknown) => void;
}

/** The most parts that are cached. All of them are of one state of the chain, and a query has few parts. */
const MAX_HELD = 1_000;

/**
 * Reads one chain. A caller that comes while a request to Redis is running shares the next request. So no answer is
 * older than its request, and one request to Redis serves many callers. The parts that were read are cached until the
 * chain changes.
 */
export class LiveReads {
  readonly #generation: Generation;
  readonly #tiler: Tiler;
  readonly #ask: AskChain;
  #waiting: Waiting[] = [];
  #asking = false;
  #known: KnownChain | null = null;
  readonly #held = new Map<string, readonly StoredTile[]>();

  constructor({ view, generation }: Definition, ask: AskChain) {
    this.#generation = generation;
    this.#tiler = new Tiler(view);
    this.#ask = ask;
  }

  /**
   * Returns the chain, and `part` of its open segment; null if there is no chain. Rejects as `ask` does, and with
   * LIVE_STATE_UNREADABLE.
   */
  read(part: OpenPart | null): Promise<LiveRead | null> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ part, resolve, reject });
      if (!this.#asking) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#asking = true;
    // Callers in the same turn of the event loop share this request.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting;
      this.#waiting = [];
      try {
        await this.#answer(waiting);
      } catch (error) {
        for (const { reject } of waiting) reject(error);
      }
    }
    this.#asking = false;
  }

  async #answer(waiting: readonly Waiting[]): Promise<void> {
    const wanted = new Map(waiting.flatMap(({ part }) => (part === null ? [] : [[keyOf(part), part] as const])));
    if (this.#held.size > MAX_HELD) this.#held.clear();
    const parts = [...wanted].map(([key, part]) => ({ ...part, held: this.#held.has(key) }));
    const found = await this.#ask(this.#known, parts);
    if (found === null || found.chain.digest !== this.#known?.chain.digest) this.#held.clear();
    this.#known = found === null ? null : { chain: found.chain, lastBucket: found.lastBucket };
    if (found === null) {
      for (const { resolve } of waiting) resolve(null);
      return;
    }
    for (const [index, key] of [...wanted.keys()].entries()) {
      const cells = found.parts[index];
      if (cells === null || cells === undefined) continue;
      this.#held.set(key, await this.#tiles(cells));
    }
    const { chain, lastBucket } = found;
    for (const { part, resolve } of waiting)
      resolve({ chain, lastBucket, open: part === null ? [] : (this.#held.get(keyOf(part)) ?? []) });
  }

  async #tiles(cells: readonly BucketCells[]): Promise<readonly StoredTile[]> {
    const tiles: StoredTile[] = [];
    try {
      for (const bucket of cells) tiles.push(await inTurns(this.#tiler.tile(bucket), null));
    } catch (error) {
      throw liveStateUnreadable(this.#generation, error);
    }
    return tiles;
  }
}

function keyOf({ fromMs, toMs, sketches, fields }: OpenPart): string {
  return `${fromMs} ${toMs} ${sketches} ${fields === null ? "" : fields.join("\n")}`;
}

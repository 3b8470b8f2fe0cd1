import type { Logger } from "pino";
import type { Manifest } from "../core/log/documents.ts";
import { type Cut, cutToJson, partitionsOf } from "../core/log/position.ts";
import { type ArchiveTail, continuedMark } from "../store/archive/archive-tail.ts";
import type { Definition } from "../store/definitions/definitions.ts";
import { type ComparedLog, type Reached, requireReached } from "../store/kafka/read/log-check.ts";
import { type Mark, markOfTopic } from "../store/kafka/read/marks.ts";
import type { Chain } from "../store/redis/chain.ts";
import { type ChainState, tilesOf } from "../store/redis/chain-state.ts";
import type { SpeedMetrics } from "./metrics.ts";

export interface ChainDeps {
  readonly definition: Definition;
  readonly chain: Chain;
  /** Returns the newest manifest, and creates the first one if there is none. */
  readonly newestManifest: () => Promise<Manifest>;
  readonly metrics: SpeedMetrics;
  readonly logger: Logger;
}

/** A chain, and the last record in it of each partition, where that record is known. */
export interface HealthyChain {
  readonly chain: ChainState;
  readonly marks: ReadonlyMap<number, Mark>;
}

/**
 * Returns a chain that tiles from the newest manifest's cut. If there is none, begins a new chain at that cut. First
 * compares the marks of chain and manifest with the log. If the log was replaced, throws LOG_TRUNCATED and leaves the
 * chain in place, so that every later attach finds the same difference.
 */
export async function healthyChain(
  { definition, chain: redis, newestManifest, metrics, logger }: ChainDeps,
  compared: ComparedLog,
  tails: ReadonlyMap<number, ArchiveTail>,
  partitions: readonly number[],
): Promise<HealthyChain> {
  const view = definition.view.name;
  for (let named: number | null = null; ; ) {
    const manifest = await newestManifest();
    // Redis named this version before the directory was read, and the directory does not have it. So the directory was
    // restored from a backup.
    const missing = named !== null && named > manifest.version ? named : null;
    named = await redis.pointer();
    const { cut } = manifest;
    const chain = await redis.load();
    const applied = chain === null ? new Map<number, Reached>() : await redis.reached();
    await requireReached(compared, only(partitions, applied));
    if (chain !== null && tilesOf(cut, chain).ok) {
      const known = [...applied].flatMap(([partition, { mark }]) =>
        mark === null ? [] : [[partition, mark] as const],
      );
      return { chain, marks: new Map(known) };
    }
    const marks = marksOf(manifest, tails);
    await requireReached(compared, only(partitions, reachedBy(cut, marks)));
    const done = await redis.reseed(cut, manifest.version, chain?.nonce ?? null, {
      topicId: manifest.topicId,
      marks,
      missing,
    });
    metrics.reseeds.inc({ view });
    // Not counted as a failure: if this loop does not end, the lane's step does not end either, and that is counted.
    logger.warn({ view, cut: cutToJson(cut), done }, "no chain from the newest cut: reseed");
  }
}

/** The entries of these partitions. */
export function only<T>(partitions: readonly number[], all: ReadonlyMap<number, T>): (readonly [number, T])[] {
  return [...all].filter(([partition]) => partitions.includes(partition));
}

function reachedBy(cut: Cut, marks: ReadonlyMap<number, Mark>): Map<number, Reached> {
  return new Map([...cut].map(([partition, to]) => [partition, { position: to, mark: marks.get(partition) ?? null }]));
}

/** The last records below a manifest's cut, by partition. */
function marksOf({ cut, marks, topicId }: Manifest, tails: ReadonlyMap<number, ArchiveTail>): Map<number, Mark> {
  const found = new Map<number, Mark>();
  for (const partition of partitionsOf(cut)) {
    const stored = marks?.[partition];
    const mark = stored === undefined ? null : markOfTopic(stored, topicId);
    const continued = continuedMark(mark, tails.get(partition)?.continuation ?? null);
    if (continued !== null) found.set(partition, continued);
  }
  return found;
}

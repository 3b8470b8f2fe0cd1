import { setTimeout as delay } from "node:timers/promises";
import { at, type Cut, cutWith, partitionsOf } from "../../core/log/position.ts";
import { logTruncated } from "../../store/kafka/cluster/log-errors.ts";
import type { Chain } from "../../store/redis/chain.ts";
import { withinOrNull } from "../../store/time-limit.ts";
import { requireOurLog } from "../log-checks.ts";
import type { BatchStores, Watch } from "../stores.ts";
import { type CutChoice, chooseCut, cutByArchive } from "./cut-choice.ts";

export interface SealPatience {
  /** How long the speed layer may take to move if the log has more records. */
  readonly waitMs: number;
  readonly pollMs: number;
  /** If Redis does not answer within this time, the chain counts as lost. */
  readonly redisMs: number;
}

export const SEAL_PATIENCE: SealPatience = { waitMs: 5_000, pollMs: 200, redisMs: 5_000 };

/** A view's chain, and the version that it continues. */
export interface Sealing {
  readonly topic: string;
  readonly chain: Chain;
  readonly version: number;
  /** The cut of the version. */
  readonly cut: Cut;
}

/**
 * Steps 1 and 2 of a settlement (docs/internals/settlement.md): seals the open segment under the next version's number
 * and chooses the next cut. Returns null if there is nothing to publish. Throws LOG_TRUNCATED when the log is not the
 * one that the archive or the chain was built from.
 */
export async function sealCut(
  stores: Pick<BatchStores, "log" | "archive">,
  { topic, chain, version, cut }: Sealing,
  watch: Watch,
  patience: SealPatience = SEAL_PATIENCE,
): Promise<Extract<CutChoice, { kind: "cut" }> | null> {
  const { log, archive } = stores;
  const byArchive = cutByArchive(cut, await archive.tails(topic, (await log.topic(topic)).id));
  if (byArchive !== null) return { kind: "cut", cut: byArchive, by: "archive" };
  const token = String(version + 1);
  const deadlineMs = performance.now() + patience.waitMs;
  for (;;) {
    watch.signal.throwIfAborted();
    const seen = await withinOrNull(patience.redisMs, async () => ({
      sealed: await chain.seal(token),
      chain: await chain.load(),
    }));
    const { stable: readable, leaderless } = await log.readableBounds(topic);
    // A partition that cannot be read stays at the cut.
    const stable = leaderless.reduce((end, partition) => cutWith(end, partition, at(cut, partition)), readable);
    const choice = chooseCut({
      cut,
      sealed: seen?.sealed ?? null,
      chain: seen?.chain ?? null,
      stable,
      waited: performance.now() >= deadlineMs,
    });
    if (choice.kind === "cut") {
      await requireOurLog(stores, topic, chain, patience.redisMs);
      return choice;
    }
    if (choice.kind === "nothing") return null;
    if (choice.kind === "truncated") throw truncated(topic, cut, stable);
    watch.beat({ waiting: "for the speed layer" });
    await delay(patience.pollMs, undefined, { signal: watch.signal });
  }
}

function truncated(topic: string, cut: Cut, stable: Cut): Error {
  const partition = partitionsOf(cut).find((candidate) => at(stable, candidate) < at(cut, candidate)) ?? 0;
  return logTruncated(topic, partition, at(cut, partition), at(stable, partition));
}
